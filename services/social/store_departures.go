package social

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"pymessage/internal/bell"
	"pymessage/internal/fault"
	"pymessage/internal/postgres"
	"pymessage/services/social/socialapi"
)

// A user whose account is deleted keeps a row in inboxes, with a head of -1: by it
// every transaction that would store something for the user, or between the user and
// somebody, knows, whatever its pod remembers.

// errGone is the fault of changing what is between users of whom one is no more.
var errGone = fault.New(fault.NotFound, "gone")

// closeInbox lets nothing be stored for user any more. Its events are still there.
func (s *store) closeInbox(ctx context.Context, user int) error {
	return s.do(ctx, "close_inbox", func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, `
			INSERT INTO inboxes AS i (user_id, head)
			VALUES ($1, -1)
			ON CONFLICT (user_id) DO UPDATE SET head = -1, oldest = 1 WHERE i.head >= 0`, user)
		return err
	})
}

// ownRows are the tables that have rows of a user alone: what is in them, and by which
// column.
var ownRows = []struct{ table, column string }{
	{"events", "user_id"}, {"history", "user_id"}, {"history_filled", "user_id"}, {"positions", "user_id"},
	{"read_marks", "reader"}, {"nonces", "sender"},
}

// deleteOwn deletes up to limit rows of user from each table, and says whether there
// may be more.
func (s *store) deleteOwn(ctx context.Context, user, limit int) (more bool, err error) {
	err = s.do(ctx, "delete_own", func(ctx context.Context) error {
		more = false
		for _, own := range ownRows {
			var q pgx.Batch
			q.Queue(apartSQL)
			q.Queue(`
				DELETE FROM `+own.table+`
				WHERE ctid = ANY(ARRAY(SELECT ctid FROM `+own.table+` WHERE `+own.column+` = $1 LIMIT $2))`, user, limit).
				Exec(func(tag pgconn.CommandTag) error {
					more = more || tag.RowsAffected() == int64(limit)
					return nil
				})
			if err := s.pool.SendBatch(ctx, &q).Close(); err != nil {
				return err
			}
		}
		return nil
	})
	return more, err
}

// leave deletes what is between user and up to limit others, and says whether there
// may be more. The others are told of what they knew of.
func (s *store) leave(ctx context.Context, user, limit int) (out socialapi.Change, more bool, err error) {
	var peers []int
	err = s.do(ctx, "leave", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, `
			SELECT CASE low WHEN $1 THEN high ELSE low END
			FROM pairs
			WHERE low = $1 OR high = $1
			LIMIT $2`, user, limit)
		if err != nil {
			return err
		}
		peers, err = pgx.CollectRows(rows, pgx.RowTo[int])
		return err
	})
	for _, peer := range peers {
		if err != nil {
			break
		}
		var one socialapi.Change
		one, err = s.leaveOne(ctx, user, peer)
		if err == nil && len(one.Rings) > 0 { // else there may be no epoch, nor what they ring for
			out.Epoch, out.Rings = one.Epoch, append(out.Rings, one.Rings...)
		}
	}
	return out, len(peers) == limit, err
}

func (s *store) leaveOne(ctx context.Context, user, peer int) (out socialapi.Change, err error) {
	p, by, err := pairOf(user, peer, actionBlock)
	if err != nil {
		return out, err
	}
	err = s.do(ctx, "leave", func(ctx context.Context) error {
		return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
			l, err := lockPair(ctx, tx, p)
			if err != nil {
				return err
			}
			out = socialapi.Change{Epoch: l.epoch}
			var q pgx.Batch
			if kind := parting(l.relation, by.other()); kind != "" && !l.gone[by.other()] {
				out.Rings = make([]socialapi.Ring, 1)
				queueNotice(&q, p, notice{by.other(), kind}, &out.Rings[0])
			}
			q.Queue(`DELETE FROM pairs WHERE low = $1 AND high = $2`, p.low, p.high)
			return tx.SendBatch(ctx, &q).Close()
		})
	})
	if errors.Is(err, errGone) { // somebody else was faster
		return socialapi.Change{}, nil
	}
	return out, err
}

// parting is what the side that stays learns when the other is no more: the end of
// what it knew of. It does not know who blocks it.
func parting(r relation, stays side) bell.Kind {
	switch {
	case r.state == stateFriends:
		return bell.KindFriendRemoved
	case r.state != stateNone:
		return bell.KindRequestClosed
	case r.blocks[stays]:
		return bell.KindUnblocked
	}
	return ""
}

// recipients are, in order, up to limit users after one to whom sender ever wrote.
func (s *store) recipients(ctx context.Context, sender, after, limit int) (recipients []int, err error) {
	err = s.do(ctx, "recipients", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, `
			SELECT recipient
			FROM contacts
			WHERE sender = $1 AND recipient > $2
			ORDER BY recipient
			LIMIT $3`, sender, after, limit)
		if err != nil {
			return err
		}
		recipients, err = pgx.CollectRows(rows, pgx.RowTo[int])
		return err
	})
	return recipients, err
}

// deleteMessages makes tombstones of what sender wrote to recipient, chunk events at
// a time, and deletes what refers to that.
func (s *store) deleteMessages(ctx context.Context, sender, recipient int, chunk int64) error {
	var oldest, head int64
	err := s.do(ctx, "delete_messages", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, `
			SELECT coalesce(max(oldest), 1), coalesce(max(head), 0)
			FROM inboxes
			WHERE user_id = $1`, recipient).Scan(&oldest, &head)
	})
	for from := oldest - 1; err == nil && from < head; from += chunk {
		err = s.do(ctx, "delete_messages", func(ctx context.Context) error {
			var q pgx.Batch
			q.Queue(apartSQL)
			q.Queue(`
				UPDATE events SET kind = $5, peer = 0, content = ''
				WHERE user_id = $1 AND seq > $3 AND seq <= $4 AND peer = $2 AND kind = 1`,
				recipient, sender, from, from+chunk, kindNumber(bell.KindTombstone))
			return s.pool.SendBatch(ctx, &q).Close()
		})
	}
	if err != nil {
		return err
	}
	return s.do(ctx, "delete_messages", func(ctx context.Context) error {
		var q pgx.Batch
		q.Queue(apartSQL)
		q.Queue(`DELETE FROM history WHERE user_id = $1 AND peer = $2`, recipient, sender)
		q.Queue(`DELETE FROM read_marks WHERE reader = $1 AND peer = $2`, recipient, sender)
		return s.pool.SendBatch(ctx, &q).Close()
	})
}

// forgetContacts deletes who wrote to user, and to whom user wrote.
func (s *store) forgetContacts(ctx context.Context, user int) error {
	return s.do(ctx, "forget_contacts", func(ctx context.Context) error {
		var q pgx.Batch
		q.Queue(`DELETE FROM contacts WHERE sender = $1`, user)
		q.Queue(`DELETE FROM contacts WHERE recipient = $1`, user)
		return s.pool.SendBatch(ctx, &q).Close()
	})
}
