package social

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"pymessage/internal/fault"
	"pymessage/services/social/socialapi"
)

// historyChunk is how many events of an inbox are looked at in one transaction: a
// short one, also for an inbox of millions that is asked about for the first time.
const historyChunk = 5000

// history gives a page of the conversation of two users. Faults: NotFound, when there
// is no message that the page should end before.
func (s *store) history(ctx context.Context, r socialapi.HistoryRequest) (page socialapi.History, err error) {
	for _, inbox := range []int{r.User, r.Peer} {
		for done := false; !done; {
			if done, err = s.fillHistory(ctx, inbox, historyChunk); err != nil {
				return page, err
			}
		}
	}
	err = s.do(ctx, "history", func(ctx context.Context) error {
		before, seq, err := s.beforeOf(ctx, r)
		if err != nil {
			return err
		}
		rows, err := s.pool.Query(ctx, historySQL, r.User, r.Peer, before, r.BeforeUser, seq, r.Limit+1)
		if err != nil {
			return err
		}
		page, err = scanHistory(rows, r)
		return err
	})
	return page, err
}

// fillHistory lets history know the next events of an inbox, and says whether it now
// knows all that there were. However often and by whomever it is done at once, each
// message is there once.
func (s *store) fillHistory(ctx context.Context, user, chunk int) (done bool, err error) {
	err = s.do(ctx, "fill_history", func(ctx context.Context) error {
		err := s.pool.QueryRow(ctx, `
			WITH span AS (
				SELECT user_id, head, known, least(head, known + $2) AS upto
				FROM (
					SELECT i.user_id, i.head, greatest(coalesce(f.seq, 0), i.oldest - 1) AS known
					FROM inboxes i
					LEFT JOIN history_filled f USING (user_id)
					WHERE i.user_id = $1
				) AS inbox
			), filled AS (
				INSERT INTO history (user_id, peer, sent_at, seq)
				SELECT e.user_id, e.peer, e.sent_at, e.seq
				FROM span s
				JOIN events e ON e.user_id = s.user_id AND e.seq > s.known AND e.seq <= s.upto
				WHERE e.kind = 1
				ORDER BY e.seq
				ON CONFLICT DO NOTHING
			)
			INSERT INTO history_filled AS f (user_id, seq)
			SELECT user_id, upto
			FROM span
			WHERE upto > known
			ON CONFLICT (user_id) DO UPDATE SET seq = greatest(f.seq, excluded.seq)
			RETURNING seq >= (SELECT head FROM span)`, user, chunk).Scan(&done)
		if errors.Is(err, pgx.ErrNoRows) { // nothing new
			done, err = true, nil
		}
		return err
	})
	return done, err
}

// beforeOf is where the page of r ends: before what was sent at that time, or, at the
// same time, before seq of the inbox of r.BeforeUser. The event may be any of the user's
// own; of the peer's inbox only what the user put there. In place of one that was pruned
// it is the oldest of the conversation that its inbox still has, or the end.
func (s *store) beforeOf(ctx context.Context, r socialapi.HistoryRequest) (at pgtype.Timestamptz, seq int64, err error) {
	if r.BeforeSeq == 0 {
		return pgtype.Timestamptz{InfinityModifier: pgtype.Infinity, Valid: true}, 0, nil
	}
	err = s.pool.QueryRow(ctx, `
		SELECT sent_at, seq
		FROM events
		WHERE user_id = $3 AND seq = $4 AND ($3 = $1 OR $3 = $2 AND peer = $1)
		UNION ALL
		SELECT coalesce(kept.sent_at, 'infinity'), coalesce(kept.seq, 0)
		FROM inboxes i
		LEFT JOIN LATERAL (
			SELECT h.sent_at, h.seq
			FROM history h
			JOIN events e ON e.user_id = h.user_id AND e.seq = h.seq AND e.kind = 1
			WHERE h.user_id = $3 AND h.peer = CASE $3 WHEN $1 THEN $2 ELSE $1 END
			ORDER BY h.sent_at, h.seq
			LIMIT 1) AS kept ON true
		WHERE i.user_id = $3 AND $4 < i.oldest
			AND ($3 = $1 OR $3 = $2 AND EXISTS (SELECT FROM contacts WHERE sender = $1 AND recipient = $2))`,
		r.User, r.Peer, r.BeforeUser, r.BeforeSeq).Scan(&at, &seq)
	if errors.Is(err, pgx.ErrNoRows) {
		err = fault.New(fault.NotFound, "there is no such message in this conversation")
	}
	return at, seq, err
}

// historySQL is a page of what $1 and $2 wrote to each other, newest first, of at most
// $6 messages that come before $3 sent_at, $4 recipient, $5 seq: in this order they
// are the same however they are paged. The latter two do not count for an infinite
// $3. What is not a message any more is left out.
const historySQL = `
	SELECT m.user_id, m.seq, m.content, m.sent_at,
		m.seq <= coalesce((SELECT seq FROM read_marks WHERE reader = m.user_id AND peer = m.peer), 0),
		m.seq <= coalesce((SELECT seq FROM positions WHERE user_id = m.user_id), 0)
	FROM (
		(
			SELECT h.user_id, h.peer, h.seq, h.sent_at, e.content
			FROM history h
			JOIN events e ON e.user_id = h.user_id AND e.seq = h.seq AND e.kind = 1
			WHERE h.user_id = $1 AND h.peer = $2 AND h.sent_at <= $3::timestamptz
				AND (h.sent_at, h.user_id, h.seq) < ($3::timestamptz, $4::integer, $5::bigint)
			ORDER BY h.sent_at DESC, h.seq DESC
			LIMIT $6
		)
		UNION ALL
		(
			SELECT h.user_id, h.peer, h.seq, h.sent_at, e.content
			FROM history h
			JOIN events e ON e.user_id = h.user_id AND e.seq = h.seq AND e.kind = 1
			WHERE h.user_id = $2 AND h.peer = $1 AND $1 <> $2 AND h.sent_at <= $3::timestamptz
				AND (h.sent_at, h.user_id, h.seq) < ($3::timestamptz, $4::integer, $5::bigint)
			ORDER BY h.sent_at DESC, h.seq DESC
			LIMIT $6
		)
	) AS m
	ORDER BY m.sent_at DESC, m.user_id DESC, m.seq DESC
	LIMIT $6`

// scanHistory turns the newest first into the oldest first, and leaves out the one
// message more that was asked for.
func scanHistory(rows pgx.Rows, r socialapi.HistoryRequest) (page socialapi.History, err error) {
	var (
		m               socialapi.HistoryMessage
		sentAt          time.Time
		read, delivered bool
	)
	page.Messages = []socialapi.HistoryMessage{}
	_, err = pgx.ForEachRow(rows, []any{&m.Recipient, &m.Seq, &m.Content, &sentAt, &read, &delivered}, func() error {
		m.SentAt, m.State = sentAt.UnixMilli(), socialapi.StateStored
		m.Sender = r.User + r.Peer - m.Recipient
		switch {
		case read:
			m.State = socialapi.StateRead
		case delivered:
			m.State = socialapi.StateDelivered
		}
		page.Messages = append(page.Messages, m)
		return nil
	})
	if page.More = len(page.Messages) > r.Limit; page.More {
		page.Messages = page.Messages[:r.Limit]
	}
	slices.Reverse(page.Messages)
	return page, err
}

// markRead notes that reader has read what peer sent up to a seq of reader's inbox.
// The mark only moves forward. Faults: NotFound, when there is no such event, or peer never wrote.
func (s *store) markRead(ctx context.Context, r socialapi.ReadMark) (out socialapi.Marked, err error) {
	err = s.do(ctx, "mark_read", func(ctx context.Context) error {
		var there bool
		var q pgx.Batch
		q.Queue(`
			WITH event AS (
				SELECT user_id
				FROM inboxes
				WHERE user_id = $1 AND head >= $3 AND EXISTS (SELECT FROM contacts WHERE sender = $2 AND recipient = $1)
			), moved AS (
				INSERT INTO read_marks AS m (reader, peer, seq)
				SELECT user_id, $2, $3
				FROM event
				ON CONFLICT (reader, peer) DO UPDATE SET seq = excluded.seq WHERE m.seq < excluded.seq
				RETURNING seq
			)
			SELECT EXISTS (SELECT FROM event), EXISTS (SELECT FROM moved), NOT EXISTS (
				SELECT FROM pairs
				WHERE low = least($1::integer, $2::integer) AND high = greatest($1::integer, $2::integer)
					AND (low_blocks IS NOT NULL OR high_blocks IS NOT NULL))`,
			r.Reader, r.Peer, r.Seq).QueryRow(row(&there, &out.Moved, &out.Tell))
		q.Queue(`SELECT coalesce(max(seq), 0) FROM read_marks WHERE reader = $1 AND peer = $2`,
			r.Reader, r.Peer).QueryRow(row(&out.Seq))
		if err := s.pool.SendBatch(ctx, &q).Close(); err != nil {
			return err
		}
		if !there {
			return fault.New(fault.NotFound, "there is nothing to read up to this event")
		}
		return nil
	})
	return out, err
}
