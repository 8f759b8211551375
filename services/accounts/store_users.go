package accounts

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"pymessage/internal/postgres"
	"pymessage/services/accounts/accountsapi"
)

// milliseconds is the SQL of a time as the API tells it.
func milliseconds(column string) string {
	return `(extract(epoch FROM date_trunc('milliseconds', ` + column + `)) * 1000)::bigint`
}

// lockUser locks the row of an account whose pin was checked against pinHash. Fault:
// Unauthorized, when it is not there any more, or has another pin.
func lockUser(ctx context.Context, tx pgx.Tx, user int, pinHash string) error {
	tag, err := tx.Exec(ctx, `
		SELECT FROM users
		WHERE id = $1 AND pin_hash = $2
		FOR NO KEY UPDATE`, user, pinHash)
	if err == nil && tag.RowsAffected() == 0 {
		return errNobody
	}
	return err
}

// profile tells when an account was made. Fault: Unauthorized, when it is not there
// any more.
func (s *store) profile(ctx context.Context, user int) (p restProfile, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	err = s.pool.QueryRow(ctx, `
		SELECT id, username, `+milliseconds("created_at")+`
		FROM users
		WHERE id = $1`, user).Scan(&p.ID, &p.Username, &p.CreatedAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return p, errOver
	}
	return p, postgres.Classify(err, "reading a profile")
}

// changePin gives an account another pin and ends all its sessions but one. Fault:
// Unauthorized, when the pin is not the old one any more.
func (s *store) changePin(ctx context.Context, me accountsapi.Session, old, pinHash string) (ended []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	err = postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if err := lockUser(ctx, tx, me.ID, old); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE users SET pin_hash = $2 WHERE id = $1`, me.ID, pinHash); err != nil {
			return err
		}
		ended, err = endSessions(ctx, tx, me.ID, me.Session)
		return err
	})
	return ended, postgres.Classify(err, "changing a pin")
}
