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

// The lane comes first and is locked to the end of the transaction, so that a
// batch and its repetition never run side by side. Making the row and locking it
// are two statements, since ON CONFLICT DO NOTHING returns nothing of a row that
// somebody else made at the same time.
const (
	makeLaneSQL = `INSERT INTO lanes (lane) VALUES ($1) ON CONFLICT DO NOTHING`
	lockLaneSQL = `
		SELECT number, results, updated_at, (SELECT epoch FROM log)
		FROM lanes
		WHERE lane = $1
		FOR UPDATE`
)

// rememberedLanes is how many lanes the memory holds, about 60 bytes each. Others cost
// their batches a statement.
const rememberedLanes = 1 << 14

// storeBatchSQL is the one statement that stores a batch without nonces: $1 lane,
// $2 number, and of the messages $3 senders, $4 recipients, $5 contents, $6
// verdicts (0, or why the message was refused already). The lane must be locked.
// It returns nothing and does nothing when the lane has stored this batch, or a
// later one.
func storeBatchSQL(policy string) string {
	return `
	WITH message AS (
		SELECT m.place, m.sender, m.recipient, m.content, ` + verdictSQL(policy) + ` AS verdict
		FROM unnest($3::integer[], $4::integer[], $5::text[], $6::smallint[])
			WITH ORDINALITY AS m (sender, recipient, content, verdict, place)
		WHERE (SELECT number FROM lanes WHERE lane = $1) < $2
	)` + appendMessagesSQL
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
// events, and the lane keeps the result.
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
		SELECT m.place, m.sender, m.recipient, m.content,
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
	UPDATE lanes SET
		number = $2,
		results = ARRAY(SELECT seq FROM result ORDER BY place),
		updated_at = now()
	WHERE lane = $1 AND number < $2
	RETURNING results, updated_at`

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
	epoch     string
	number    int64
	results   []int64
	firsts    map[int]socialapi.First // by place in the batch, from 1
	updatedAt time.Time
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

// send stores the messages of b that are not refused already: refused has an
// entry for each, empty when it is not. A batch that was stored before changes
// nothing and gets the result that was kept. Fault: Conflict, when the lane has
// stored a later batch.
func (s *store) send(ctx context.Context, b socialapi.Batch, refused []socialapi.Refusal) (out socialapi.BatchResult, repeated bool, err error) {
	err = s.do(ctx, "send", func(ctx context.Context) error {
		lane, stored, err := s.sendWhole(ctx, b, refused)
		if postgres.IsDataError(err) {
			lane, stored, err = s.sendSplit(ctx, b, slices.Clone(refused))
		}
		if err != nil {
			return err
		}
		if lane.number > b.Number {
			return fault.New(fault.Conflict, "batch %d of lane %s comes after batch %d", b.Number, b.Lane, lane.number)
		}
		out, repeated = lane.answer(), !stored
		if stored {
			s.rememberContacts(b, out.Results)
		}
		return nil
	})
	return out, repeated, err
}

// sendWhole stores a batch in one round trip. Statements that are sent together
// are one transaction; the last sees what was committed while the one before waited
// for the lane. A lane that stored a batch has a row, unless it was idle for so long
// that it was forgotten.
func (s *store) sendWhole(ctx context.Context, b socialapi.Batch, refused []socialapi.Refusal) (lane laneRow, stored bool, err error) {
	if s.lanes.has([]string{b.Lane})[0] {
		lane, stored, err = s.sendOnce(ctx, b, refused, queueLane)
		if !errors.Is(err, pgx.ErrNoRows) {
			return lane, stored, err
		}
	}
	lane, stored, err = s.sendOnce(ctx, b, refused, queueNewLane)
	if err == nil {
		s.lanes.add([]string{b.Lane})
	}
	return lane, stored, err
}

func (s *store) sendOnce(ctx context.Context, b socialapi.Batch, refused []socialapi.Refusal,
	queueLane func(*pgx.Batch, socialapi.Batch, *laneRow),
) (lane laneRow, stored bool, err error) {
	var q pgx.Batch
	queueLane(&q, b, &lane)
	s.queueStore(&q, b, refused, &lane, &stored)
	err = s.pool.SendBatch(ctx, &q).Close()
	return lane, stored, err
}

// sendSplit stores a batch of which Postgres does not take some message as data,
// which it then refuses alone. The checks in front of the store leave nothing
// that is known to end here.
func (s *store) sendSplit(ctx context.Context, b socialapi.Batch, refused []socialapi.Refusal) (lane laneRow, stored bool, err error) {
	err = postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		var first pgx.Batch
		queueNewLane(&first, b, &lane)
		if err := tx.SendBatch(ctx, &first).Close(); err != nil {
			return err
		}
		if err := s.refuseBadData(ctx, tx, b, refused, 0, len(refused)); err != nil {
			return err
		}
		var second pgx.Batch
		s.queueStore(&second, b, refused, &lane, &stored)
		return tx.SendBatch(ctx, &second).Close()
	})
	return lane, stored, err
}

// refuseBadData refuses those of the messages from..to that Postgres does not
// take, which it finds by trying halves. A try is always rolled back, and its
// locks with it, so that the order of locks is kept.
func (s *store) refuseBadData(ctx context.Context, tx pgx.Tx, b socialapi.Batch, refused []socialapi.Refusal, from, to int) error {
	err := s.try(ctx, tx, b, onlyRange(refused, from, to))
	if !postgres.IsDataError(err) {
		return err
	}
	if to-from == 1 {
		refused[from] = socialapi.RefusedInvalid
		return nil
	}
	middle := (from + to) / 2
	if err := s.refuseBadData(ctx, tx, b, refused, from, middle); err != nil {
		return err
	}
	return s.refuseBadData(ctx, tx, b, refused, middle, to)
}

// try stores what is not refused, and takes it back.
func (s *store) try(ctx context.Context, tx pgx.Tx, b socialapi.Batch, refused []socialapi.Refusal) error {
	savepoint, err := tx.Begin(ctx)
	if err != nil {
		return err
	}
	var q pgx.Batch
	s.queueStore(&q, b, refused, new(laneRow), new(bool))
	err = savepoint.SendBatch(ctx, &q).Close()
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

// queueNewLane locks the lane of b, and makes it when it is new.
func queueNewLane(q *pgx.Batch, b socialapi.Batch, lane *laneRow) {
	q.Queue(makeLaneSQL, b.Lane)
	queueLane(q, b, lane)
}

// queueLane locks the lane of b.
func queueLane(q *pgx.Batch, b socialapi.Batch, lane *laneRow) {
	if hasNonces(b) {
		q.Queue(lockLaneOfNoncesSQL, b.Lane).QueryRow(
			row(&lane.number, &lane.results, &lane.updatedAt, &lane.epoch, &lane.firsts))
		return
	}
	q.Queue(lockLaneSQL, b.Lane).QueryRow(row(&lane.number, &lane.results, &lane.updatedAt, &lane.epoch))
}

// queueStore stores b if its lane, which must be locked, did not do so before.
func (s *store) queueStore(q *pgx.Batch, b socialapi.Batch, refused []socialapi.Refusal, lane *laneRow, stored *bool) {
	c := columnsOf(b.Messages, refused)
	statement, args := s.storeBatch, []any{b.Lane, b.Number, c.senders, c.recipients, c.contents, c.verdicts}
	if c.hasNonces {
		statement, args = s.storeNonces, append(args, c.nonces)
	}
	q.Queue(statement, args...).QueryRow(func(r pgx.Row) error {
		err := r.Scan(&lane.results, &lane.updatedAt)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err == nil {
			lane.number, lane.firsts, *stored = b.Number, nil, true
		}
		return err
	})
	s.queueContacts(q, b, c)
	if c.hasNonces {
		queueNonces(q, b, c, lane)
	}
}

// columns are the messages of a batch as the statements take them.
type columns struct {
	senders, recipients []int32
	contents            []string
	verdicts            []int16

	hasNonces bool
	nonces    []string
	connected []bool
}

// columnsOf leaves blank what is refused: Postgres might not even read it.
func columnsOf(messages []socialapi.Message, refused []socialapi.Refusal) columns {
	n := len(messages)
	c := columns{
		senders: make([]int32, n), recipients: make([]int32, n), contents: make([]string, n), verdicts: make([]int16, n),
	}
	for i, m := range messages {
		if refused[i] != "" {
			c.verdicts[i] = verdicts[refused[i]]
			continue
		}
		c.senders[i], c.recipients[i], c.contents[i] = int32(m.Sender), int32(m.Recipient), m.Content
		if m.Nonce != "" {
			c.addNonce(i, m)
		}
	}
	return c
}

func (c *columns) addNonce(i int, m socialapi.Message) {
	if !c.hasNonces {
		n := len(c.senders)
		c.hasNonces, c.nonces, c.connected = true, make([]string, n), make([]bool, n)
	}
	c.nonces[i], c.connected[i] = m.Nonce, m.Connected
}
