package social

import (
	"context"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"pymessage/internal/postgres"
	"pymessage/services/social/socialapi"
)

// NewEpoch gives the log behind databaseURL a new epoch, so that clients do not trust
// numbers of a log that is no more. It is for operators who restored a database.
func NewEpoch(ctx context.Context, databaseURL string, log *slog.Logger) error {
	pool, err := postgres.Open(ctx, databaseURL, 1)
	if err != nil {
		return err
	}
	defer pool.Close()
	s := newStore(pool, policyAnyone, newMetrics(prometheus.NewRegistry()), log)
	epoch, err := s.newEpoch(ctx)
	if err != nil {
		return err
	}
	log.InfoContext(ctx, "the log has a new epoch", "epoch", epoch)
	return nil
}

// newEpoch says that the log is not the one that seqs were given of so far. It is
// read with every answer, never remembered: the next answer of every pod has it.
func (s *store) newEpoch(ctx context.Context) (epoch string, err error) {
	err = s.do(ctx, "new_epoch", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, `
			UPDATE log SET epoch = gen_random_uuid()::text
			RETURNING epoch`).Scan(&epoch)
	})
	return epoch, err
}

// open tells where a user's inbox stands. A user who is not known yet has an
// empty one.
func (s *store) open(ctx context.Context, user int) (socialapi.Opening, error) {
	openings, err := s.openMany(ctx, []int{user})
	return openings[0], err
}

// read gives the events of an inbox after a seq. One statement sees one state of
// the inbox, hence the head and the events in one. As there are no gaps, the page
// has an end beforehand: a page of a huge inbox costs no more than another.
func (s *store) read(ctx context.Context, r socialapi.ReadRequest) (socialapi.Page, error) {
	pages := make([]socialapi.Page, 1)
	err := s.do(ctx, "read", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, `
			SELECT 1, (SELECT epoch FROM log), greatest(i.head, 0), coalesce(i.oldest, 1),
				coalesce(e.seq, 0), coalesce(e.kind, 0), coalesce(e.peer, 0), coalesce(e.content, ''),
				coalesce(e.sent_at, 'epoch')
			FROM (VALUES ($1::integer)) AS u (user_id)
			LEFT JOIN inboxes i USING (user_id)
			LEFT JOIN events e ON e.user_id = u.user_id
				AND e.seq > greatest($2, i.oldest - 1)
				AND e.seq <= greatest($2, i.oldest - 1) + $3
			ORDER BY e.seq`, r.User, r.After, r.Limit)
		if err != nil {
			return err
		}
		return scanPages(rows, pages)
	})
	return pages[0], err
}

// heads gives the newest seqs of those users that have an inbox.
func (s *store) heads(ctx context.Context, users []int) (out socialapi.Heads, err error) {
	err = s.do(ctx, "heads", func(ctx context.Context) error {
		var q pgx.Batch
		q.Queue(`SELECT epoch FROM log`).QueryRow(row(&out.Epoch))
		q.Queue(`SELECT user_id, head FROM inboxes WHERE user_id = ANY($1::integer[]) AND head >= 0`, users).
			Query(func(rows pgx.Rows) (err error) {
				out.Heads, err = pgx.CollectRows(rows, pgx.RowToStructByPos[socialapi.UserSeq])
				return err
			})
		return s.pool.SendBatch(ctx, &q).Close()
	})
	return out, err
}

// setPositions moves positions forward, never back, and never beyond the head;
// those of another epoch not at all. They are locked in the order of their users.
func (s *store) setPositions(ctx context.Context, r socialapi.PositionsRequest) error {
	users, seqs := make([]int, len(r.Positions)), make([]int64, len(r.Positions))
	for i, p := range r.Positions {
		users[i], seqs[i] = p.User, p.Seq
	}
	return s.do(ctx, "set_positions", func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, `
			INSERT INTO positions AS p (user_id, seq)
			SELECT user_id, max(least(given.seq, i.head))
			FROM unnest($1::integer[], $2::bigint[]) AS given (user_id, seq)
			JOIN inboxes i USING (user_id)
			WHERE i.head >= 0 AND $3 IN ('', (SELECT epoch FROM log))
			GROUP BY user_id
			ORDER BY user_id
			ON CONFLICT (user_id) DO UPDATE SET seq = excluded.seq
			WHERE p.seq < excluded.seq`, users, seqs, r.Epoch)
		return err
	})
}

// withInbox finds those of the users that have an inbox which is not closed.
func (s *store) withInbox(ctx context.Context, users []int) (found []int, err error) {
	err = s.do(ctx, "with_inbox", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, `
			SELECT user_id
			FROM inboxes
			WHERE user_id = ANY($1::integer[]) AND head >= 0`, users)
		if err != nil {
			return err
		}
		found, err = pgx.CollectRows(rows, pgx.RowTo[int])
		return err
	})
	return found, err
}

// addInboxes gives inboxes to users who exist and may have none.
func (s *store) addInboxes(ctx context.Context, users []int) error {
	return s.do(ctx, "add_inboxes", func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, `
			INSERT INTO inboxes (user_id)
			SELECT DISTINCT user_id
			FROM unnest($1::integer[]) AS user_id
			ORDER BY user_id
			ON CONFLICT DO NOTHING`, users)
		return err
	})
}
