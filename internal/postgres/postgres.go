// Package postgres is the thin layer between the services' stores and pgx: pools,
// migrations, transactions and the meaning of error codes. It knows no schema.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"pymessage/internal/fault"
)

const (
	connectTimeout = 3 * time.Second // a database host that is gone must not hold requests
	maxConnIdle    = 5 * time.Minute
)

// sessionSettings bound for how long the locks of a client are held that hangs, or whose
// machine died without a word: a transaction that it left open ends within 2 s, before
// who waits for its locks gives up, and Postgres notices its death within 30 s instead of
// 2 h. And they have it plan each statement once for a connection: by default it weighs
// every time whether to plan anew, which took two thirds of the time of storing a single
// message.
var sessionSettings = map[string]string{
	"tcp_keepalives_idle":                 "15", // seconds
	"tcp_keepalives_interval":             "5",  // seconds
	"tcp_keepalives_count":                "3",
	"idle_in_transaction_session_timeout": "2s",
	"plan_cache_mode":                     "force_generic_plan",
}

// Open makes a pool of at most maxConns connections to url. It does not connect
// yet: a service starts while its database is still starting, and says so in its
// readiness. Settings in the url (pool_max_conns, search_path, ...) win.
func Open(ctx context.Context, url string, maxConns int32) (*pgxpool.Pool, error) {
	cfg, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = maxConns
	cfg.MinConns = min(cfg.MinConns, maxConns)
	cfg.MaxConnIdleTime = maxConnIdle
	cfg.ConnConfig.ConnectTimeout = connectTimeout
	cfg.ConnConfig.Tracer = newStopwatch()
	for name, value := range sessionSettings {
		if _, given := cfg.ConnConfig.RuntimeParams[name]; !given {
			cfg.ConnConfig.RuntimeParams[name] = value
		}
	}
	return pgxpool.NewWithConfig(ctx, cfg)
}

// CheckURL is the fault of the setting DATABASE_URL with this value, or nil.
func CheckURL(url string) error {
	_, err := parseURL(url)
	return err
}

func parseURL(url string) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errors.New("DATABASE_URL is not a valid Postgres URL") // the cause may hold the password
	}
	return cfg, nil
}

// InTx runs f in a transaction, committed when f returns nil. Postgres ends it when f
// asks nothing of it for 2 s.
func InTx(ctx context.Context, pool *pgxpool.Pool, f func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, pool, f)
}

// IsDataError says whether Postgres refused the data of a statement (class 22,
// for example a NUL in a text), so that the same statement can never succeed.
func IsDataError(err error) bool {
	return hasClass(err, "22")
}

// IsUniqueViolation says whether err comes of the named unique constraint.
func IsUniqueViolation(err error, constraint string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "23505" && pg.ConstraintName == constraint
}

// IsNullViolation says whether err comes of a NULL for a column that takes none.
func IsNullViolation(err error, table, column string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "23502" && pg.TableName == table && pg.ColumnName == column
}

// Classify turns err into a fault: Unavailable for everything that another try
// may cure (no connection, shutdown, deadlock, timeouts), unchanged when it is a
// fault or a defect of ours.
func Classify(err error, doing string) error {
	var f *fault.Error
	var pg *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &f):
		return err
	case errors.As(err, &pg) && !isTransient(pg):
		return fmt.Errorf("%s: %w", doing, err)
	}
	return fault.Wrap(fault.Unavailable, err, "%s: store unavailable", doing)
}

// isTransient says whether the server refused for a reason that passes:
// connection (08), serialization and deadlock (40), resources (53), operator
// intervention (57), a role or database that is still being provisioned (28, 3D).
func isTransient(err *pgconn.PgError) bool {
	for _, class := range []string{"08", "40", "53", "57", "58", "28", "3D"} {
		if err.Code[:2] == class {
			return true
		}
	}
	return err.Code == "25006" || // read only: a primary that was demoted
		err.Code == "25P03" // a transaction that was left alone for too long
}

func hasClass(err error, class string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && len(pg.Code) == 5 && pg.Code[:2] == class
}
