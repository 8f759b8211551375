package accounts

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"pymessage/internal/postgres"
	"pymessage/services/accounts/accountsapi"
)

// begun is a session that was begun.
type begun struct {
	id        string
	expiresAt time.Time
	ended     []string // the sessions that had to make room
}

// insertWithSession adds an account together with a session of it: both are there,
// or neither. Fault: Conflict, when the name is taken.
func (s *store) insertWithSession(ctx context.Context, u username, pinHash string, hash tokenHash) (id int, b begun, err error) {
	id, err = s.insertAnd(ctx, u, pinHash, func(ctx context.Context, tx pgx.Tx, id int) (err error) {
		b, err = s.beginIn(ctx, tx, id, pinHash, hash)
		return err
	})
	return id, b, err
}

// begin adds a session to an account whose pin was just checked. Fault: Unauthorized,
// when the account was deleted since, or has another pin: what ends the sessions of
// an account must not miss one that is just beginning.
func (s *store) begin(ctx context.Context, user int, pinHash string, hash tokenHash) (b begun, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	err = postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		b, err = s.beginIn(ctx, tx, user, pinHash, hash)
		return err
	})
	return b, postgres.Classify(err, "beginning a session")
}

// beginIn adds a session and deletes those beyond the limit. The lock is for
// sessions of one account that begin at once: they would not see each other.
func (s *store) beginIn(ctx context.Context, tx pgx.Tx, user int, pinHash string, hash tokenHash) (b begun, err error) {
	if err := lockUser(ctx, tx, user, pinHash); err != nil {
		return begun{}, err
	}
	err = tx.QueryRow(ctx, `
		INSERT INTO sessions (user_id, token_hash, created_at, expires_at)
		SELECT $1, $2, t, t + $3::interval
		FROM clock_timestamp() AS t
		RETURNING id::text, expires_at`, user, hash[:], s.lifetime).Scan(&b.id, &b.expiresAt)
	if err != nil {
		return begun{}, err
	}
	b.ended, err = s.makeRoom(ctx, tx, user, b.id)
	return b, err
}

// makeRoom deletes the oldest sessions of an account beyond the limit, first those
// that have run out, and never the one that was just begun.
func (s *store) makeRoom(ctx context.Context, tx pgx.Tx, user int, begun string) ([]string, error) {
	rows, err := tx.Query(ctx, `
		DELETE FROM sessions
		WHERE id IN (
			SELECT id
			FROM sessions
			WHERE user_id = $1 AND id <> $2::uuid
			ORDER BY expires_at > now() DESC, created_at DESC
			OFFSET $3)
		RETURNING id::text`, user, begun, s.maxSessions-1)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// byTokens finds the sessions of tokens; those that are over are left out.
func (s *store) byTokens(ctx context.Context, hashes [][]byte) (map[tokenHash]accountsapi.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	rows, err := s.pool.Query(ctx, `
		SELECT sessions.token_hash, users.id, users.username, sessions.id::text, sessions.expires_at
		FROM sessions
		JOIN users ON users.id = sessions.user_id
		WHERE sessions.token_hash = ANY($1::bytea[]) AND sessions.expires_at > now()`, hashes)
	if err != nil {
		return nil, postgres.Classify(err, "finding sessions")
	}
	found := make(map[tokenHash]accountsapi.Session, len(hashes))
	var (
		hash    []byte
		session accountsapi.Session
		expires time.Time
	)
	_, err = pgx.ForEachRow(rows, []any{&hash, &session.ID, &session.Username, &session.Session, &expires}, func() error {
		session.ExpiresAt = expires.UnixMilli()
		found[tokenHash(hash)] = session
		return nil
	})
	return found, postgres.Classify(err, "finding sessions")
}

// end deletes a session of an account and says whether it was there.
func (s *store) end(ctx context.Context, user int, session string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	tag, err := s.pool.Exec(ctx, `
		DELETE FROM sessions
		WHERE id = $1::uuid AND user_id = $2`, session, user)
	return tag.RowsAffected() > 0, postgres.Classify(err, "ending a session")
}

// ended finds those of the sessions that are over, whether or not their rows are
// gone.
func (s *store) ended(ctx context.Context, sessions []string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	rows, err := s.pool.Query(ctx, `
		SELECT asked.id::text
		FROM unnest($1::uuid[]) AS asked (id)
		WHERE NOT EXISTS (
			SELECT
			FROM sessions
			WHERE sessions.id = asked.id AND sessions.expires_at > now())`, sessions)
	if err != nil {
		return nil, postgres.Classify(err, "checking sessions")
	}
	ended, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return ended, postgres.Classify(err, "checking sessions")
}

// pruneSessions deletes up to limit sessions that have run out and says how many.
// Several pods may do it at once.
func (s *store) pruneSessions(ctx context.Context, limit int) (pruned int, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	tag, err := s.pool.Exec(ctx, `
		WITH over AS MATERIALIZED (
			SELECT id
			FROM sessions
			WHERE expires_at <= now()
			LIMIT $1
			FOR UPDATE SKIP LOCKED)
		DELETE FROM sessions
		USING over
		WHERE sessions.id = over.id`, limit)
	return int(tag.RowsAffected()), postgres.Classify(err, "deleting sessions that are over")
}

// sessions lists the sessions of an account, the oldest first.
func (s *store) sessions(ctx context.Context, user int) ([]restSession, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	rows, err := s.pool.Query(ctx, `
		SELECT id::text, `+milliseconds("created_at")+`, `+milliseconds("expires_at")+`
		FROM sessions
		WHERE user_id = $1 AND expires_at > now()
		ORDER BY created_at, id`, user)
	if err != nil {
		return nil, postgres.Classify(err, "listing sessions")
	}
	sessions, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s restSession, err error) {
		err = row.Scan(&s.ID, &s.CreatedAt, &s.ExpiresAt)
		return s, err
	})
	return sessions, postgres.Classify(err, "listing sessions")
}

// endAll deletes all sessions of an account and says which there were.
func (s *store) endAll(ctx context.Context, user int) (ended []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	ended, err = endSessions(ctx, s.pool, user, "")
	return ended, postgres.Classify(err, "ending sessions")
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// endSessions deletes all sessions of an account but one.
func endSessions(ctx context.Context, q querier, user int, except string) ([]string, error) {
	rows, err := q.Query(ctx, `
		DELETE FROM sessions
		WHERE user_id = $1 AND id::text <> $2
		RETURNING id::text`, user, except)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
