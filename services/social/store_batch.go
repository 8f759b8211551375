package social

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"pymessage/internal/fault"
	"pymessage/internal/postgres"
	"pymessage/services/social/socialapi"
)

// A batch is stored once, whatever happens to its answer: its lane remembers the number
// of its last batch and the result. That is checked by the last thing that the statement
// does. If the lane has stored this batch already, or a later one, the statement fails on
// purpose, and with it everything that it did. So what nearly always holds, that the
// batch is new, costs no look beforehand.

// keptLaneSQL is what a lane has stored last.
const keptLaneSQL = `
	SELECT number, results, updated_at, (SELECT epoch FROM log), CASE WHEN firsts_of = number THEN firsts END
	FROM lanes
	WHERE lane = $1`

// storeBatchesSQL is the statement that stores batches without nonces, each of another
// lane: $1 lanes, $2 numbers, and of the messages of all batches $3 the place of
// the batch from 1, $4 senders, $5 recipients, $6 contents, $7 verdicts (0, or why the
// message was refused already).
func storeBatchesSQL(policy string) string {
	return `
	WITH message AS (
		SELECT m.place, m.batch, m.sender, m.recipient, m.content, ` + verdictSQL(policy) + ` AS verdict
		FROM unnest($3::integer[], $4::integer[], $5::integer[], $6::text[], $7::smallint[])
			WITH ORDINALITY AS m (batch, sender, recipient, content, verdict, place)
	)` + appendMessagesSQL
}

// storeSingleSQL is storeBatchesSQL for a single message, which is all that most
// transactions have while there is little to do: $1 lane, $2 number, $3 sender,
// $4 recipient, $5 content. Postgres then spends most of its time on starting the
// plan; this one has no function scans, joins, windows and sorts.
func storeSingleSQL(policy string) string {
	return `
	WITH judged AS (
		SELECT ` + verdictSQL(policy) + ` AS verdict
		FROM (VALUES ($3::integer, $4::integer, 0::smallint)) AS m (sender, recipient, verdict)
	), inbox AS (
		INSERT INTO inboxes AS i (user_id, head)
		SELECT $4::integer, 1
		FROM judged
		WHERE verdict = 0
		ON CONFLICT (user_id) DO UPDATE SET head = i.head + excluded.head WHERE i.head >= 0
		RETURNING head
	), event AS (
		INSERT INTO events (user_id, seq, kind, peer, content, sent_at)
		SELECT $4::integer, head, 1, $3::integer, $5::text, now()
		FROM inbox
	)
	INSERT INTO lanes AS l (lane, number, results, updated_at)
	SELECT $1::text, $2::bigint,
		ARRAY[CASE WHEN verdict <> 0 THEN verdict ELSE coalesce((SELECT head FROM inbox), -1) END], now()
	FROM judged` + keepResultsSQL
}

// verdictSQL is what policy and blocks make of a message m that is not refused
// already. Where only friends may write there is no need to look for blocks: nobody
// blocks a friend. A scalar subquery looks into the index of the blocks for each
// message, which costs 3 to 6 % of a batch, whatever their number; for an EXISTS
// Postgres may read all blocks into a hash table for each batch.
func verdictSQL(policy string) string {
	if policy != policyFriends {
		return `CASE
			WHEN m.verdict = 0 AND (
				SELECT true FROM pairs
				WHERE low = least(m.sender, m.recipient)
					AND high = greatest(m.sender, m.recipient)
					AND (low_blocks IS NOT NULL OR high_blocks IS NOT NULL))
				THEN ` + fmt.Sprint(verdicts[socialapi.RefusedUnknown]) + `
			ELSE m.verdict END`
	}
	return `CASE
			WHEN m.verdict <> 0 OR m.sender = m.recipient THEN m.verdict
			WHEN EXISTS (
				SELECT FROM pairs
				WHERE low = least(m.sender, m.recipient)
					AND high = greatest(m.sender, m.recipient)
					AND state = ` + fmt.Sprint(stateFriends) + `) THEN 0
			ELSE ` + fmt.Sprint(verdicts[socialapi.RefusedNotFriend]) + ` END`
}

// appendMessagesSQL goes on after WITH message: those with the verdict 0 become
// events, and each lane keeps its result.
//
// The inboxes are locked in the order of their users, as INSERT takes them. The
// last of a recipient's messages gets the new head as its seq, the one before it
// one less. An inbox that is closed takes nothing: its messages are refused as those
// to users who do not exist.
const appendMessagesSQL = `, inbox AS (
		INSERT INTO inboxes AS i (user_id, head)
		SELECT recipient, count(*)
		FROM message
		WHERE verdict = 0
		GROUP BY recipient
		ORDER BY recipient
		ON CONFLICT (user_id) DO UPDATE SET head = i.head + excluded.head WHERE i.head >= 0
		RETURNING user_id, head
	), result AS (
		SELECT m.place, m.batch, m.sender, m.recipient, m.content,
			CASE WHEN m.verdict <> 0 THEN m.verdict
			ELSE coalesce(i.head + 1 - row_number() OVER (
				PARTITION BY m.recipient, m.verdict ORDER BY m.place DESC), -1)
			END AS seq
		FROM message m
		LEFT JOIN inbox i ON i.user_id = m.recipient
	), event AS (
		INSERT INTO events (user_id, seq, kind, peer, content, sent_at)
		SELECT recipient, seq, 1, sender, content, now()
		FROM result
		WHERE seq > 0
	)
	INSERT INTO lanes AS l (lane, number, results, updated_at)
	SELECT b.lane, b.number, ARRAY(SELECT seq FROM result r WHERE r.batch = b.batch ORDER BY r.place), now()
	FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS b (lane, number, batch)
	ORDER BY b.lane` + keepResultsSQL

// keepResultsSQL ends what is inserted into lanes AS l. A lane that has come as far
// already gets a number of NULL, which its column refuses.
const keepResultsSQL = `
	ON CONFLICT (lane) DO UPDATE SET
		number = CASE WHEN l.number < excluded.number THEN excluded.number END,
		results = excluded.results,
		updated_at = excluded.updated_at
	RETURNING lane, results, updated_at, (SELECT epoch FROM log)`

// hasComeAsFar says whether err is that of a batch whose lane has stored it, or a later
// one.
func hasComeAsFar(err error) bool { return postgres.IsNullViolation(err, "lanes", "number") }

// verdicts are the refusals as lanes.results has them, where a seq could be.
var verdicts = map[socialapi.Refusal]int16{
	"":                           0,
	socialapi.RefusedUnknown:     -1,
	socialapi.RefusedNotFriend:   -2,
	socialapi.RefusedInvalid:     -3,
	socialapi.RefusedUnavailable: -4,
}

// laneRow is a lane as its row has it.
type laneRow struct {
	number    int64
	results   []int64
	updatedAt time.Time
	epoch     string
	firsts    map[int]socialapi.First // by place in the batch, from 1
}

// answer is the result of the lane's last batch.
func (l *laneRow) answer() socialapi.BatchResult {
	out := socialapi.BatchResult{
		Epoch:   l.epoch,
		SentAt:  l.updatedAt.UnixMilli(),
		Results: make([]socialapi.Result, len(l.results)),
	}
	for i, seq := range l.results {
		if seq <= 0 {
			out.Results[i].Refused = refusalOf(seq)
			continue
		}
		out.Results[i].Seq = seq
		if first, ok := l.firsts[i+1]; ok {
			out.Results[i].First = &first
		}
	}
	return out
}

// refusalOf is the inverse of verdicts. One that only a newer version knows is a
// failure without a reason.
func refusalOf(verdict int64) socialapi.Refusal {
	for refusal, v := range verdicts {
		if int64(v) == verdict {
			return refusal
		}
	}
	return socialapi.RefusedUnavailable
}

// sending is a batch on its way into the store, and what comes of it.
type sending struct {
	batch   socialapi.Batch
	refused []socialapi.Refusal // of each message; empty when it is not refused already

	result   socialapi.BatchResult
	repeated bool  // it was stored before: the result is the one that was kept
	err      error // a fault: Conflict, when the lane has stored a later batch; Unavailable
}

// send stores batches of different lanes by one transaction.
func (s *store) send(ctx context.Context, group []*sending) {
	s.metrics.merged.Observe(float64(len(group)))
	err := s.do(ctx, "send", func(ctx context.Context) error { return s.sendGroup(ctx, group) })
	for _, each := range group {
		if err != nil {
			each.err = err
		}
		if each.err == nil && !each.repeated {
			s.rememberContacts(each.batch, each.result.Results)
		}
	}
}

// sendGroup fills in what came of each, or gives the error of all, which may pass: then
// some of them may have been stored all the same. What fails for good may do so because
// of one of them, so they are tried one by one.
func (s *store) sendGroup(ctx context.Context, group []*sending) error {
	err := s.storeGroup(ctx, s.pool, group)
	switch {
	case err == nil || mayPass(err):
		return err
	case len(group) == 1:
		return s.sendAlone(ctx, group[0], err)
	}
	for _, each := range group {
		err := s.sendGroup(ctx, []*sending{each})
		if mayPass(err) {
			return err
		}
		if err != nil {
			each.err = err
		}
	}
	return nil
}

// mayPass says whether the same batch may be stored later.
func mayPass(err error) bool { return errors.Is(postgres.Classify(err, "send"), fault.Unavailable) }

// sendAlone goes on with a batch that could not be stored as it is.
func (s *store) sendAlone(ctx context.Context, each *sending, err error) error {
	switch {
	case hasComeAsFar(err):
		return s.tellKept(ctx, each)
	case postgres.IsDataError(err):
		return s.sendSplit(ctx, each)
	}
	return err
}

// tellKept answers a batch that is stored already.
func (s *store) tellKept(ctx context.Context, each *sending) error {
	var lane laneRow
	err := s.pool.QueryRow(ctx, keptLaneSQL, each.batch.Lane).
		Scan(&lane.number, &lane.results, &lane.updatedAt, &lane.epoch, &lane.firsts)
	if err != nil {
		return err
	}
	each.result, each.repeated, each.err = lane.answer(), true, nil
	if lane.number > each.batch.Number {
		each.err = fault.New(fault.Conflict, "batch %d of lane %s comes after batch %d", each.batch.Number, each.batch.Lane, lane.number)
	}
	return nil
}

// sendSplit stores a batch of which Postgres does not take some message as data,
// which it then refuses alone. The checks in front of the store leave nothing
// that is known to end here.
func (s *store) sendSplit(ctx context.Context, each *sending) error {
	split := &sending{batch: each.batch, refused: slices.Clone(each.refused)}
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if err := s.refuseBadData(ctx, tx, split, 0, len(split.refused)); err != nil {
			return err
		}
		return s.storeGroup(ctx, tx, []*sending{split})
	})
	if hasComeAsFar(err) {
		return s.tellKept(ctx, each)
	}
	each.result, each.err = split.result, nil
	return err
}

// refuseBadData refuses those of the messages from..to that Postgres does not
// take, which it finds by trying halves. A try is always rolled back, and its
// locks with it, so that the order of locks is kept.
func (s *store) refuseBadData(ctx context.Context, tx pgx.Tx, each *sending, from, to int) error {
	err := s.try(ctx, tx, &sending{batch: each.batch, refused: onlyRange(each.refused, from, to)})
	if !postgres.IsDataError(err) {
		return err
	}
	if to-from == 1 {
		each.refused[from] = socialapi.RefusedInvalid
		return nil
	}
	middle := (from + to) / 2
	if err := s.refuseBadData(ctx, tx, each, from, middle); err != nil {
		return err
	}
	return s.refuseBadData(ctx, tx, each, middle, to)
}

// try stores what is not refused, and takes it back.
func (s *store) try(ctx context.Context, tx pgx.Tx, each *sending) error {
	savepoint, err := tx.Begin(ctx)
	if err != nil {
		return err
	}
	err = s.storeGroup(ctx, savepoint, []*sending{each})
	if rollback := savepoint.Rollback(ctx); err == nil {
		err = rollback
	}
	return err
}

// onlyRange refuses everything outside from..to as well.
func onlyRange(refused []socialapi.Refusal, from, to int) []socialapi.Refusal {
	out := slices.Clone(refused)
	for i := range out {
		if i < from || i >= to {
			out[i] = socialapi.RefusedInvalid
		}
	}
	return out
}

// batchSender is a pool or a transaction. Statements that a pool gets together are one
// transaction.
type batchSender interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// storeGroup stores batches in one round trip, unless one of them was stored before.
func (s *store) storeGroup(ctx context.Context, db batchSender, group []*sending) error {
	c := columnsOf(group)
	lanes := make(map[string]*laneRow, len(group))
	var q pgx.Batch
	statement, args := s.statementFor(c)
	q.Queue(statement, args...).Query(func(rows pgx.Rows) error {
		var name string
		var row laneRow
		_, err := pgx.ForEachRow(rows, []any{&name, &row.results, &row.updatedAt, &row.epoch}, func() error {
			lanes[name] = &laneRow{results: row.results, updatedAt: row.updatedAt, epoch: row.epoch}
			row.results = nil // not to be used again for the next lane's
			return nil
		})
		return err
	})
	s.queueContacts(&q, c)
	if c.hasNonces {
		queueNonces(&q, c, lanes)
	}
	if err := db.SendBatch(ctx, &q).Close(); err != nil {
		return err
	}
	for _, each := range group {
		each.result, each.err = lanes[each.batch.Lane].answer(), nil
	}
	return nil
}

// statementFor is what stores c, and its arguments.
func (s *store) statementFor(c columns) (statement string, args []any) {
	if len(c.lanes) == 1 && len(c.verdicts) == 1 && c.verdicts[0] == 0 && !c.hasNonces {
		return s.storeSingle, []any{c.lanes[0], c.numbers[0], c.senders[0], c.recipients[0], c.contents[0]}
	}
	args = []any{c.lanes, c.numbers, c.batches, c.senders, c.recipients, c.contents, c.verdicts}
	if c.hasNonces {
		return s.storeNonces, append(args, c.nonces)
	}
	return s.storeBatches, args
}
