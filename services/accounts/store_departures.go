package accounts

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"pymessage/internal/postgres"
)

// errTakenID says that an id drawn for a new account was one of a deleted account.
var errTakenID = errors.New("id of a deleted account")

// refuseDeparted makes sure that a new account has no id of a deleted one. It is to
// be asked after the account was inserted: then nobody else deletes one with this id.
func refuseDeparted(ctx context.Context, tx pgx.Tx, id int) error {
	var taken bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM departed WHERE id = $1)`, id).Scan(&taken)
	if err == nil && taken {
		return errTakenID
	}
	return err
}

// deleteUser deletes an account, whose pin was checked against pinHash, with its
// sessions, and remembers what is to be told of it: all of that or nothing. Fault:
// Unauthorized, when the account or the pin is not there any more.
func (s *store) deleteUser(ctx context.Context, user int, pinHash string) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if err := lockUser(ctx, tx, user, pinHash); err != nil {
			return err
		}
		var q pgx.Batch
		q.Queue(`DELETE FROM users WHERE id = $1`, user) // and the sessions with it
		q.Queue(`INSERT INTO departed (id) VALUES ($1)`, user)
		q.Queue(`INSERT INTO outbox (user_id) VALUES ($1)`, user)
		return tx.SendBatch(ctx, &q).Close()
	})
	return postgres.Classify(err, "deleting an account")
}

// departure is a deleted account that social has to be told of.
type departure struct {
	user  int
	tries int  // that failed
	told  bool // already, so that this is the last time
}

// takeDeparture finds one that is due, if there is one, and keeps other pods from it
// for as long as lease.
func (s *store) takeDeparture(ctx context.Context, lease time.Duration) (d departure, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	err = s.pool.QueryRow(ctx, `
		UPDATE outbox SET due_at = now() + $1::interval
		WHERE user_id = (
			SELECT user_id
			FROM outbox
			WHERE due_at <= now()
			ORDER BY due_at
			LIMIT 1
			FOR UPDATE SKIP LOCKED)
		RETURNING user_id, tries, told`, lease).Scan(&d.user, &d.tries, &d.told)
	if errors.Is(err, pgx.ErrNoRows) {
		return departure{}, false, nil
	}
	return d, err == nil, postgres.Classify(err, "looking into the outbox")
}

// extendDeparture keeps other pods from a departure for as long as lease from now on.
func (s *store) extendDeparture(ctx context.Context, d departure, lease time.Duration) error {
	return s.setDeparture(ctx, `UPDATE outbox SET due_at = now() + $2::interval WHERE user_id = $1`, d.user, lease)
}

// postponeDeparture lets a departure that has failed wait for pause.
func (s *store) postponeDeparture(ctx context.Context, d departure, pause time.Duration) error {
	return s.setDeparture(ctx, `UPDATE outbox SET due_at = now() + $2::interval, tries = tries + 1 WHERE user_id = $1`,
		d.user, pause)
}

// tellDepartureAgain lets a departure that was told of wait for grace, and then be
// told of once more.
func (s *store) tellDepartureAgain(ctx context.Context, d departure, grace time.Duration) error {
	return s.setDeparture(ctx, `UPDATE outbox SET due_at = now() + $2::interval, tries = 0, told = true WHERE user_id = $1`,
		d.user, grace)
}

// forgetDeparture ends it.
func (s *store) forgetDeparture(ctx context.Context, d departure) error {
	return s.setDeparture(ctx, `DELETE FROM outbox WHERE user_id = $1`, d.user)
}

func (s *store) setDeparture(ctx context.Context, sql string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	_, err := s.pool.Exec(ctx, sql, args...)
	return postgres.Classify(err, "changing the outbox")
}

// departures is how many there are that are not over.
func (s *store) departures(ctx context.Context) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	err = s.pool.QueryRow(ctx, `SELECT count(*) FROM outbox`).Scan(&n)
	return n, postgres.Classify(err, "looking into the outbox")
}
