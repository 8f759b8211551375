package social

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// A step of pruning looks at so many inboxes, and deletes at most so many events of
// each: it takes some milliseconds, and a second or two where each event has to be
// fetched from a disk.
const (
	prunedInboxes = 50
	prunedEvents  = 50
)

// pruneRest is how many times as long as a step has taken there is none after it. So
// pruning takes a twentieth of one connection's time, and does less the busier the
// database is.
const pruneRest = 19

// pruneSettings hold for a step alone. Nobody waits for the disk, since what is not
// deleted after a crash is deleted again; rows are found by their keys, whatever the
// planner thinks of the size of the tables; and it does not compile, which takes longer.
const pruneSettings = `
	SELECT set_config('synchronous_commit', 'off', true), set_config('jit', 'off', true),
		set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)`

// pruneStepSQL is the next step of the pass through all inboxes, in the order of their
// users, or of a new pass: $1 age, $2 time between the beginnings of two passes. It
// returns nothing where it is not time for a step, or where somebody else is at it.
//
// From the low end of each inbox it deletes the events that are delivered and older
// than age, up to the first that is not: sent_at rises with seq but for transactions
// that overtook each other. Inboxes are locked last, for an instant, in the order of
// their users. An inbox that has more is where the next step begins.
//
// What history knows of an event goes with it. It may learn of one that is being
// deleted, which says nothing (see the table).
var pruneStepSQL = `
	WITH turn AS (
		SELECT after_user, CASE after_user WHEN 0 THEN now() ELSE began_at END AS began_at
		FROM pruning
		WHERE only_row AND free_at <= now()
		FOR UPDATE SKIP LOCKED
	), looked AS (
		SELECT i.user_id, i.head, i.oldest, t.began_at - $1::interval AS before
		FROM turn t
		CROSS JOIN LATERAL (
			SELECT user_id, head, oldest
			FROM inboxes
			WHERE user_id > t.after_user
			ORDER BY user_id
			LIMIT ` + fmt.Sprint(prunedInboxes) + `) AS i
	), delivered AS (
		SELECT l.user_id, l.oldest, l.before, p.seq, least(p.seq, l.oldest - 1 + ` + fmt.Sprint(prunedEvents) + `) AS upto
		FROM looked l
		JOIN positions p ON p.user_id = l.user_id AND p.seq >= l.oldest
		WHERE l.head >= 0
	), old AS MATERIALIZED (
		SELECT user_id, oldest, seq > upto AS more, coalesce((
				SELECT e.seq - 1
				FROM events e
				WHERE e.user_id = d.user_id AND e.seq >= d.oldest AND e.seq <= d.upto AND e.sent_at >= d.before
				ORDER BY e.seq
				LIMIT 1), upto) AS upto, upto AS most,
			coalesce((SELECT seq FROM history_filled f WHERE f.user_id = d.user_id), 0) >= oldest AS filled
		FROM delivered d
	), gone AS (
		DELETE FROM events e
		USING old o
		WHERE e.user_id = o.user_id AND e.seq >= o.oldest AND e.seq <= o.upto
		RETURNING e.user_id, e.seq, e.peer, e.sent_at, e.kind = 1 AND o.filled AS listed
	), unlisted AS (
		DELETE FROM history h
		USING gone g
		WHERE g.listed AND h.user_id = g.user_id AND h.peer = g.peer AND h.sent_at = g.sent_at AND h.seq = g.seq
	), inbox AS (
		INSERT INTO inboxes AS i (user_id, oldest)
		SELECT user_id, max(seq) + 1
		FROM gone
		GROUP BY user_id
		ORDER BY user_id
		ON CONFLICT (user_id) DO UPDATE SET oldest = excluded.oldest WHERE i.head >= 0 AND i.oldest < excluded.oldest
	)
	UPDATE pruning SET
		after_user = coalesce((SELECT min(user_id) - 1 FROM old WHERE more AND upto = most), seen.last, 0),
		began_at = turn.began_at,
		free_at = CASE
			WHEN seen.last IS NULL THEN greatest(turn.began_at + $2::interval, clock_timestamp())
			ELSE clock_timestamp() + ` + fmt.Sprint(pruneRest) + ` * (clock_timestamp() - statement_timestamp())
		END
	FROM turn, (SELECT count(*) AS events FROM gone) AS deleted, (SELECT max(user_id) AS last FROM looked) AS seen
	WHERE only_row
	RETURNING deleted.events, free_at - clock_timestamp()`

// pruneEvents takes the next step of deleting events that are delivered and older than
// age. It says how many it has deleted, and how long not to take another step; mine is
// false, and there is nothing to say, where it is not time for a step or somebody else
// is at it.
func (s *store) pruneEvents(ctx context.Context, age, every time.Duration) (pruned int, rest time.Duration, mine bool, err error) {
	err = s.do(ctx, "prune_events", func(ctx context.Context) error {
		var q pgx.Batch
		q.Queue(pruneSettings)
		q.Queue(pruneStepSQL, age, every).QueryRow(func(r pgx.Row) error {
			err := r.Scan(&pruned, &rest)
			if mine = err == nil; errors.Is(err, pgx.ErrNoRows) {
				return nil
			}
			return err
		})
		return s.pool.SendBatch(ctx, &q).Close()
	})
	return pruned, rest, mine && err == nil, err
}

// apartSQL keeps pruning away until the end of the transaction, for who deletes or
// changes events or history in another order: they would wait for each other.
const apartSQL = `SELECT FROM pruning FOR SHARE`
