package social

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"pymessage/internal/bell"
	"pymessage/internal/fault"
	"pymessage/internal/postgres"
	"pymessage/services/social/socialapi"
)

// friends lists a user's friends, in the order of becoming friends.
func (s *store) friends(ctx context.Context, user int) (friends []int, err error) {
	err = s.do(ctx, "friends", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, `
			SELECT CASE low WHEN $1 THEN high ELSE low END AS friend
			FROM pairs
			WHERE (low = $1 OR high = $1) AND state = $2
			ORDER BY since, friend`, user, stateFriends)
		if err != nil {
			return err
		}
		friends, err = pgx.CollectRows(rows, pgx.RowTo[int])
		return err
	})
	return friends, err
}

// change carries out what actor does about user: the new state and its events are
// stored in one transaction. Faults are those of transition, and TooMany when
// more than maxWaiting requests would wait for the answer of one user.
func (s *store) change(ctx context.Context, actor, user int, act action, maxWaiting int) (out socialapi.Change, err error) {
	p, by, err := pairOf(actor, user, act)
	if err != nil {
		return out, err
	}
	err = s.do(ctx, string(act), func(ctx context.Context) error {
		return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) (err error) {
			out, err = changePair(ctx, tx, p, by, act, maxWaiting)
			return err
		})
	})
	return out, err
}

func changePair(ctx context.Context, tx pgx.Tx, p pair, by side, act action, maxWaiting int) (out socialapi.Change, err error) {
	before, epoch, err := lockPair(ctx, tx, p)
	if err != nil {
		return out, err
	}
	after, notices, err := transition(before, by, act)
	if err != nil {
		return out, err
	}
	out.Epoch = epoch
	if after == before {
		return out, nil
	}
	var requestSeq int64
	for _, n := range notices {
		ring, err := appendNotice(ctx, tx, p, n)
		if err != nil {
			return out, err
		}
		out.Rings = append(out.Rings, ring)
		if n.kind == bell.KindFriendRequest {
			requestSeq = ring.Event.Seq
		}
	}
	if err := enter(ctx, tx, p, after, requestSeq); err != nil || after != asked(by) {
		return out, err
	}
	return out, checkWaiting(ctx, tx, p.user(by.other()), maxWaiting)
}

// lockPair locks the row of a pair, and makes it when it is new.
func lockPair(ctx context.Context, tx pgx.Tx, p pair) (st state, epoch string, err error) {
	var q pgx.Batch
	q.Queue(`INSERT INTO pairs (low, high) VALUES ($1, $2) ON CONFLICT DO NOTHING`, p.low, p.high)
	q.Queue(`
		SELECT state, (SELECT epoch FROM log)
		FROM pairs
		WHERE low = $1 AND high = $2
		FOR UPDATE`, p.low, p.high).QueryRow(row(&st, &epoch))
	return st, epoch, tx.SendBatch(ctx, &q).Close()
}

// appendNotice puts an event into the inbox of one side, and locks it.
func appendNotice(ctx context.Context, tx pgx.Tx, p pair, n notice) (socialapi.Ring, error) {
	user, peer := p.user(n.to), p.user(n.to.other())
	event := bell.Event{Kind: n.kind, Peer: peer}
	var sentAt time.Time
	err := tx.QueryRow(ctx, `
		WITH inbox AS (
			INSERT INTO inboxes AS i (user_id, head)
			VALUES ($1, 1)
			ON CONFLICT (user_id) DO UPDATE SET head = i.head + 1
			RETURNING head
		)
		INSERT INTO events (user_id, seq, kind, peer, content, sent_at)
		SELECT $1, head, $2, $3, '', now()
		FROM inbox
		RETURNING seq, sent_at`, user, kindNumber(n.kind), peer).Scan(&event.Seq, &sentAt)
	event.SentAt = sentAt.UnixMilli()
	return socialapi.Ring{User: user, Event: event}, err
}

// enter puts a pair into a state.
func enter(ctx context.Context, tx pgx.Tx, p pair, st state, requestSeq int64) error {
	_, err := tx.Exec(ctx, `
		UPDATE pairs SET state = $3, request_seq = $4, since = now()
		WHERE low = $1 AND high = $2`, p.low, p.high, st, requestSeq)
	return err
}

// checkWaiting is the fault of too many requests that wait for user's answer. The
// user's inbox must be locked, which every new request has to do: so nobody else
// counts at the same time.
func checkWaiting(ctx context.Context, tx pgx.Tx, user, most int) error {
	var waiting int
	err := tx.QueryRow(ctx, `
		SELECT count(*)
		FROM pairs
		WHERE low = $1 AND state = $3 OR high = $1 AND state = $2`, user, stateLowAsked, stateHighAsked).Scan(&waiting)
	if err == nil && waiting > most {
		return fault.New(fault.TooMany, "too many friend requests wait for this user's answer")
	}
	return err
}
