package social

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"pymessage/services/social/socialapi"
)

// sentTo gives up to limit messages that sender wrote to recipient, after a seq of the
// recipient's inbox, in order.
func (s *store) sentTo(ctx context.Context, sender, recipient int, after int64, limit int) (page []socialapi.HistoryMessage, err error) {
	for done := false; !done; {
		if done, err = s.fillHistory(ctx, recipient, historyChunk); err != nil {
			return nil, err
		}
	}
	err = s.do(ctx, "sent_to", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, `
			SELECT e.seq, e.content, e.sent_at
			FROM history h
			JOIN events e ON e.user_id = h.user_id AND e.seq = h.seq AND e.kind = 1
			WHERE h.user_id = $2 AND h.peer = $1 AND (h.sent_at, h.seq) >
				(coalesce((SELECT sent_at FROM events WHERE user_id = $2 AND seq = $3), '-infinity'), $3)
			ORDER BY h.sent_at, h.seq
			LIMIT $4`, sender, recipient, after, limit)
		if err != nil {
			return err
		}
		page, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (m socialapi.HistoryMessage, err error) {
			var sentAt time.Time
			err = row.Scan(&m.Seq, &m.Content, &sentAt)
			m.Sender, m.Recipient, m.SentAt = sender, recipient, sentAt.UnixMilli()
			return m, err
		})
		return err
	})
	return page, err
}
