package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"log/slog"

	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib" // registers the driver that goose uses
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"pymessage/internal/fault"
)

// lockProbe and lockTries bound how long a migration waits for another one:
// several replicas may be rolled out at once.
const (
	lockProbe = 1 // seconds
	lockTries = 300
)

// folder is where the migrations are in what embeds them.
const folder = "migrations"

// Migrate brings the schema at url to the newest of migrations/*.sql in fsys, under a
// lock that only one process holds at a time. Migrations only go forward.
func Migrate(ctx context.Context, log *slog.Logger, url string, fsys fs.FS) error {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return err
	}
	defer db.Close()
	files, err := fs.Sub(fsys, folder)
	if err != nil {
		return err
	}
	provider, err := newProvider(ctx, db, files)
	if err != nil {
		return err
	}
	results, err := provider.Up(ctx)
	for _, r := range results {
		log.InfoContext(ctx, "migrated", "file", r.Source.Path, "took", r.Duration.String())
	}
	if err != nil {
		return fmt.Errorf("migrating: %w", err)
	}
	return nil
}

func newProvider(ctx context.Context, db *sql.DB, fsys fs.FS) (*goose.Provider, error) {
	var schema sql.NullString
	if err := db.QueryRowContext(ctx, `SELECT current_schema()`).Scan(&schema); err != nil {
		return nil, fmt.Errorf("connecting to migrate: %w", err)
	}
	if !schema.Valid {
		return nil, fmt.Errorf("the role's search_path names no existing schema: provision roles and schemas first")
	}
	h := fnv.New32a()
	h.Write([]byte("pymessage migrations of " + schema.String))
	locker, err := lock.NewPostgresSessionLocker(
		lock.WithLockID(int64(h.Sum32())), lock.WithLockTimeout(lockProbe, lockTries))
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectPostgres, db, fsys,
		goose.WithSessionLocker(locker), goose.WithSlog(slog.New(slog.DiscardHandler)))
}

// newest is the version of the last of migrations/*.sql in fsys.
func newest(fsys fs.FS) (int64, error) {
	files, err := fs.Glob(fsys, folder+"/*.sql")
	if err != nil {
		return 0, fmt.Errorf("listing the migrations: %w", err)
	}
	if len(files) == 0 {
		return 0, errors.New("no migrations embedded")
	}
	return goose.NumericComponent(files[len(files)-1])
}

// CheckSchema returns an error while the schema behind pool is older than the
// newest of migrations/*.sql in fsys. A newer one is fine: it is a neighbouring version's,
// and migrations expand before they contract.
func CheckSchema(ctx context.Context, pool *pgxpool.Pool, fsys fs.FS) error {
	want, err := newest(fsys)
	if err != nil {
		return err
	}
	var have int64
	err = pool.QueryRow(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&have)
	if err != nil {
		return fmt.Errorf("reading the schema version: %w", err)
	}
	if have < want {
		return fault.New(fault.Unavailable, "schema is at version %d, needs %d: run the migrations", have, want)
	}
	return nil
}
