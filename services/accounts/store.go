package accounts

import (
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"log/slog"
	"math/big"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"pymessage/internal/fault"
	"pymessage/internal/postgres"
	"pymessage/services/accounts/accountsapi"
)

const (
	// storeTimeout bounds a request to a database that has stopped answering.
	storeTimeout = 5 * time.Second

	// idTries is how many random ids a new account may draw. Even with half of
	// all ids in use, one in a million accounts runs out.
	idTries = 20
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrate brings the schema behind databaseURL up to date.
func Migrate(ctx context.Context, databaseURL string, log *slog.Logger) error {
	return postgres.Migrate(ctx, log, databaseURL, migrations)
}

// store is the schema accounts: all SQL of this service. Its errors are faults,
// unless they are defects.
type store struct {
	pool        *pgxpool.Pool
	newID       func() int    // draws an id for a new account
	lifetime    time.Duration // of a new session
	maxSessions int           // of one account
}

// openStore makes a store, which connects when it is first asked.
func openStore(ctx context.Context, cfg Config) (*store, error) {
	pool, err := postgres.Open(ctx, string(cfg.DatabaseURL), cfg.DatabaseConns)
	if err != nil {
		return nil, err
	}
	return &store{pool: pool, newID: randomID, lifetime: cfg.SessionLifetime, maxSessions: cfg.MaxSessionsPerAccount}, nil
}

func (s *store) close() { s.pool.Close() }

// check says whether the schema is there and new enough.
func (s *store) check(ctx context.Context) error {
	return postgres.CheckSchema(ctx, s.pool, migrations)
}

// randomID is any id: ids must not tell how many accounts there are, or when one
// was made.
func randomID() int {
	n, err := rand.Int(rand.Reader, big.NewInt(maxID-minID+1))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return minID + int(n.Int64())
}

// insert adds an account and returns its id. Fault: Conflict, when the name is
// taken.
func (s *store) insert(ctx context.Context, u username, pinHash string) (int, error) {
	return s.insertAnd(ctx, u, pinHash, func(context.Context, pgx.Tx, int) error { return nil })
}

// insertAnd adds an account, and does what else belongs to it in the same
// transaction.
func (s *store) insertAnd(ctx context.Context, u username, pinHash string,
	also func(ctx context.Context, tx pgx.Tx, id int) error) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	for range idTries {
		id := s.newID()
		err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `
				INSERT INTO users (id, username, username_key, pin_hash)
				VALUES ($1, $2, $3, $4)`, id, u.shown, u.key, pinHash)
			if err == nil {
				err = refuseDeparted(ctx, tx, id)
			}
			if err != nil {
				return err
			}
			return also(ctx, tx, id)
		})
		switch {
		case err == nil:
			return id, nil
		case postgres.IsUniqueViolation(err, "users_username_key_key"):
			return 0, fault.New(fault.Conflict, "username is taken")
		case !postgres.IsUniqueViolation(err, "users_id_key") && !errors.Is(err, errTakenID):
			return 0, postgres.Classify(err, "creating an account")
		}
	}
	return 0, fault.New(fault.Unavailable, "no free id found")
}

// byName finds the account behind a name, and the hash of its pin. Without one
// both are zero.
func (s *store) byName(ctx context.Context, u username) (user accountsapi.User, pinHash string, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	err = s.pool.QueryRow(ctx, `
		SELECT id, username, pin_hash
		FROM users
		WHERE username_key = $1`, u.key).Scan(&user.ID, &user.Username, &pinHash)
	if errors.Is(err, pgx.ErrNoRows) {
		return accountsapi.User{}, "", nil
	}
	return user, pinHash, postgres.Classify(err, "finding an account")
}

// byIDs finds accounts; ids that nobody has are left out.
func (s *store) byIDs(ctx context.Context, ids []int) ([]accountsapi.User, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	rows, err := s.pool.Query(ctx, `
		SELECT id, username
		FROM users
		WHERE id = ANY($1::integer[])`, ids)
	if err != nil {
		return nil, postgres.Classify(err, "looking up accounts")
	}
	users, err := pgx.CollectRows(rows, pgx.RowToStructByPos[accountsapi.User])
	return users, postgres.Classify(err, "looking up accounts")
}
