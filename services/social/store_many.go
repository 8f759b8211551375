package social

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"pymessage/internal/bell"
	"pymessage/services/social/socialapi"
)

// openMany tells where inboxes stand, in the order of users. Who is not known yet has an
// empty one.
func (s *store) openMany(ctx context.Context, users []int) ([]socialapi.Opening, error) {
	openings := make([]socialapi.Opening, len(users))
	err := s.do(ctx, "open", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, `
			SELECT u.place, (SELECT epoch FROM log), greatest(i.head, 0), coalesce(i.oldest, 1), coalesce(p.seq, 0), ARRAY(
				SELECT CASE low WHEN u.user_id THEN high ELSE low END
				FROM pairs
				WHERE (low = u.user_id AND state = $3 OR high = u.user_id AND state = $2)
					AND request_seq <= p.seq
				ORDER BY request_seq)
			FROM unnest($1::integer[]) WITH ORDINALITY AS u (user_id, place)
			LEFT JOIN inboxes i USING (user_id)
			LEFT JOIN positions p USING (user_id)`, users, stateLowAsked, stateHighAsked)
		if err != nil {
			return err
		}
		var place int
		var o socialapi.Opening
		_, err = pgx.ForEachRow(rows, []any{&place, &o.Epoch, &o.Head, &o.Oldest, &o.Position, &o.Waiting}, func() error {
			openings[place-1] = o
			o.Waiting = nil // the next row gets an array of its own
			return nil
		})
		return err
	})
	return openings, err
}

// readMany gives short pages of inboxes, in the order of the requests: as read does, but
// ended by the event that goes beyond ShortBytes. The lengths of contents are known
// without fetching long ones.
func (s *store) readMany(ctx context.Context, reads []socialapi.ReadRequest) ([]socialapi.Page, error) {
	users, after, limits := make([]int, len(reads)), make([]int64, len(reads)), make([]int, len(reads))
	for i, r := range reads {
		users[i], after[i], limits[i] = r.User, r.After, r.Limit
	}
	pages := make([]socialapi.Page, len(reads))
	err := s.do(ctx, "read_many", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, `
			SELECT u.place, (SELECT epoch FROM log), greatest(i.head, 0), coalesce(i.oldest, 1),
				coalesce(e.seq, 0), coalesce(e.kind, 0), coalesce(e.peer, 0), coalesce(e.content, ''),
				coalesce(e.sent_at, 'epoch')
			FROM unnest($1::integer[], $2::bigint[], $3::integer[]) WITH ORDINALITY AS u (user_id, after, most, place)
			LEFT JOIN inboxes i USING (user_id)
			LEFT JOIN LATERAL (
				SELECT seq, kind, peer, content, sent_at,
					sum(octet_length(content)) OVER (ORDER BY seq) - octet_length(content) AS before
				FROM events
				WHERE user_id = u.user_id
					AND seq > greatest(u.after, i.oldest - 1)
					AND seq <= greatest(u.after, i.oldest - 1) + u.most) AS e ON e.before <= $4
			ORDER BY u.place, e.seq`, users, after, limits, socialapi.ShortBytes)
		if err != nil {
			return err
		}
		return scanPages(rows, pages)
	})
	return pages, err
}

// scanPages fills pages from rows that begin with the place of a page, from 1. The one
// row without an event is an empty page.
func scanPages(rows pgx.Rows, pages []socialapi.Page) error {
	for i := range pages {
		pages[i].Events = []bell.Event{}
	}
	var (
		place  int
		p      socialapi.Page
		e      bell.Event
		kind   int16
		sentAt time.Time
	)
	_, err := pgx.ForEachRow(rows, []any{
		&place, &p.Epoch, &p.Head, &p.Oldest, &e.Seq, &kind, &e.Peer, &e.Content, &sentAt,
	}, func() error {
		page := &pages[place-1]
		page.Epoch, page.Head, page.Oldest = p.Epoch, p.Head, p.Oldest
		if e.Seq > 0 {
			e.Kind, e.SentAt = kinds[kind], sentAt.UnixMilli()
			page.Events = append(page.Events, e)
		}
		return nil
	})
	return err
}
