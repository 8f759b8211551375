package social

import (
	"cmp"
	"context"
	"errors"
	"slices"
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

// friendsOf lists the friends of those users that have some.
func (s *store) friendsOf(ctx context.Context, users []int) (out map[int][]int, err error) {
	err = s.do(ctx, "friends_of", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, `
			SELECT low, high FROM pairs WHERE low = ANY($1::integer[]) AND state = $2
			UNION ALL
			SELECT high, low FROM pairs WHERE high = ANY($1::integer[]) AND state = $2`, users, stateFriends)
		if err != nil {
			return err
		}
		out = map[int][]int{}
		var user, friend int
		_, err = pgx.ForEachRow(rows, []any{&user, &friend}, func() error {
			out[user] = append(out[user], friend)
			return nil
		})
		return err
	})
	return out, err
}

// areFriends says whether two users are friends.
func (s *store) areFriends(ctx context.Context, a, b int) (friends bool, err error) {
	err = s.do(ctx, "are_friends", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pairs WHERE low = $1 AND high = $2 AND state = $3)`,
			min(a, b), max(a, b), stateFriends).Scan(&friends)
	})
	return friends, err
}

// requests lists those that a user got and sent and that nobody has answered, oldest
// first.
func (s *store) requests(ctx context.Context, user int) (out socialapi.Requests, err error) {
	err = s.do(ctx, "requests", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, `
			SELECT low = $1 AND state = $3 OR high = $1 AND state = $2 AS incoming,
				CASE low WHEN $1 THEN high ELSE low END AS peer, since
			FROM pairs
			WHERE (low = $1 OR high = $1) AND state IN ($2, $3)
			ORDER BY since, peer`, user, stateLowAsked, stateHighAsked)
		if err != nil {
			return err
		}
		out = socialapi.Requests{}
		var (
			incoming bool
			peer     int
			since    time.Time
		)
		_, err = pgx.ForEachRow(rows, []any{&incoming, &peer, &since}, func() error {
			list := &out.Outgoing
			if incoming {
				list = &out.Incoming
			}
			*list = append(*list, socialapi.Waiting{User: peer, Since: since.UnixMilli()})
			return nil
		})
		return err
	})
	return out, err
}

// blocked lists whom a user blocks, in the order of blocking.
func (s *store) blocked(ctx context.Context, user int) (blocked []int, err error) {
	err = s.do(ctx, "blocked", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, `
			SELECT CASE low WHEN $1 THEN high ELSE low END AS peer
			FROM pairs
			WHERE low = $1 AND low_blocks IS NOT NULL OR high = $1 AND high_blocks IS NOT NULL
			ORDER BY CASE low WHEN $1 THEN low_blocks ELSE high_blocks END, peer`, user)
		if err != nil {
			return err
		}
		blocked, err = pgx.CollectRows(rows, pgx.RowTo[int])
		return err
	})
	return blocked, err
}

// change is something that a user wants to do about another.
type change struct {
	actor, user int
	act         action
	again       bool // it may have been done already
}

// change carries out c: the new relation and its events are stored in one
// transaction. Faults are those of transition, NotFound for a block, and TooMany
// when more than maxWaiting requests would wait for the answer of one user.
func (s *store) change(ctx context.Context, c change, maxWaiting int) (out socialapi.Change, err error) {
	p, by, err := pairOf(c.actor, c.user, c.act)
	if err != nil {
		return out, err
	}
	err = s.do(ctx, string(c.act), func(ctx context.Context) error {
		return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) (err error) {
			out, err = changePair(ctx, tx, p, by, c, maxWaiting)
			return err
		})
	})
	if errors.Is(err, errBlocked) || errors.Is(err, errGone) {
		err = noUser(c.user)
	}
	return out, err
}

func changePair(ctx context.Context, tx pgx.Tx, p pair, by side, c change, maxWaiting int) (out socialapi.Change, err error) {
	l, err := lockPair(ctx, tx, p)
	if err == nil && (l.gone[low] || l.gone[high]) {
		err = errGone
	}
	if err != nil {
		return out, err
	}
	out.Epoch = l.epoch
	before := l.relation
	after, notices, err := transition(before, by, c.act)
	if err != nil {
		if c.again && isDone(before, by, c.act) {
			err = nil
		}
		return out, err
	}
	if after == before {
		return out, nil
	}
	if out.Rings, err = enter(ctx, tx, p, after, notices); err != nil || after.state != asked(by) {
		return out, err
	}
	return out, checkWaiting(ctx, tx, p.user(by.other()), maxWaiting)
}

// locked is a pair whose row is locked.
type locked struct {
	relation
	gone  [2]bool // by side: its account is deleted
	epoch string
}

// lockPair locks the row of a pair, and makes it when it is new. It is errGone when
// the row was deleted meanwhile, which happens only with an account.
func lockPair(ctx context.Context, tx pgx.Tx, p pair) (l locked, err error) {
	var q pgx.Batch
	q.Queue(`INSERT INTO pairs (low, high) VALUES ($1, $2) ON CONFLICT DO NOTHING`, p.low, p.high)
	q.Queue(`
		SELECT state, low_blocks IS NOT NULL, high_blocks IS NOT NULL,
			EXISTS (SELECT FROM inboxes WHERE user_id = $1 AND head < 0),
			EXISTS (SELECT FROM inboxes WHERE user_id = $2 AND head < 0),
			(SELECT epoch FROM log)
		FROM pairs
		WHERE low = $1 AND high = $2
		FOR UPDATE`, p.low, p.high).
		QueryRow(row(&l.state, &l.blocks[low], &l.blocks[high], &l.gone[low], &l.gone[high], &l.epoch))
	return l, noneIsGone(tx.SendBatch(ctx, &q).Close())
}

// noneIsGone makes a row that is not there errGone.
func noneIsGone(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return errGone
	}
	return err
}

// enter puts the events of a change into the inboxes, which it locks in the order of
// their users, and the pair into its new relation.
func enter(ctx context.Context, tx pgx.Tx, p pair, r relation, notices []notice) ([]socialapi.Ring, error) {
	slices.SortStableFunc(notices, func(a, b notice) int { return cmp.Compare(a.to, b.to) })
	rings := make([]socialapi.Ring, len(notices))
	var q pgx.Batch
	for i, n := range notices {
		queueNotice(&q, p, n, &rings[i])
	}
	asks := 0 // who was asked, if somebody was
	switch r.state {
	case stateLowAsked:
		asks = p.high
	case stateHighAsked:
		asks = p.low
	}
	q.Queue(`
		UPDATE pairs SET
			since = CASE state WHEN $3 THEN since ELSE now() END,
			state = $3,
			request_seq = coalesce((SELECT head FROM inboxes WHERE user_id = $4), 0),
			low_blocks = CASE WHEN $5 THEN coalesce(low_blocks, now()) END,
			high_blocks = CASE WHEN $6 THEN coalesce(high_blocks, now()) END
		WHERE low = $1 AND high = $2`, p.low, p.high, r.state, asks, r.blocks[low], r.blocks[high])
	return rings, noneIsGone(tx.SendBatch(ctx, &q).Close())
}

// queueNotice puts an event into the inbox of one side, if it is not closed.
func queueNotice(q *pgx.Batch, p pair, n notice, ring *socialapi.Ring) {
	user, peer := p.user(n.to), p.user(n.to.other())
	q.Queue(`
		WITH inbox AS (
			INSERT INTO inboxes AS i (user_id, head)
			VALUES ($1, 1)
			ON CONFLICT (user_id) DO UPDATE SET head = i.head + 1 WHERE i.head >= 0
			RETURNING head
		)
		INSERT INTO events (user_id, seq, kind, peer, content, sent_at)
		SELECT $1, head, $2, $3, '', now()
		FROM inbox
		RETURNING seq, sent_at`, user, kindNumber(n.kind), peer).QueryRow(func(r pgx.Row) error {
		var seq int64
		var sentAt time.Time
		err := r.Scan(&seq, &sentAt)
		*ring = socialapi.Ring{User: user, Event: bell.Event{Seq: seq, Kind: n.kind, Peer: peer, SentAt: sentAt.UnixMilli()}}
		return err
	})
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
