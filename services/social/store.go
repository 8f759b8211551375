package social

import (
	"context"
	"embed"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/time/rate"

	"pymessage/internal/bell"
	"pymessage/internal/fault"
	"pymessage/internal/postgres"
)

const (
	// storeTimeout bounds an operation on a database that has stopped answering.
	storeTimeout = 5 * time.Second

	// complainEvery bounds how often an outage is logged: every request fails then.
	complainEvery = time.Second

	// undoneTries is how often an operation is begun that Postgres undoes to
	// resolve a deadlock. The order of locks leaves none that we know of.
	undoneTries = 3
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrate brings the schema behind databaseURL up to date.
func Migrate(ctx context.Context, databaseURL string, log *slog.Logger) error {
	return postgres.Migrate(ctx, log, databaseURL, migrations)
}

// store is the schema social: all SQL of this service. Its errors are faults,
// unless they are defects.
//
// Every transaction takes its locks in the same order: pruning, the pair, the nonces by
// sender and nonce, the inboxes by user, the lanes by name. So there are no deadlocks.
type store struct {
	pool         *pgxpool.Pool
	storeBatches string // the statement that stores batches under the policy
	storeNonces  string // the same of batches with nonces
	storeSingle  string // the same of a single message without one
	contacts     *recent[contact]
	metrics      *metrics
	log          *slog.Logger
	complain     rate.Sometimes
}

func newStore(pool *pgxpool.Pool, policy string, m *metrics, log *slog.Logger) *store {
	return &store{
		pool: pool, storeBatches: storeBatchesSQL(policy), storeNonces: storeNoncesSQL(policy), storeSingle: storeSingleSQL(policy),
		contacts: newRecent[contact](rememberedContacts), metrics: m, log: log, complain: rate.Sometimes{Interval: complainEvery},
	}
}

// do runs an operation: bounded in time, measured, and begun anew when Postgres
// undid it. Its error is classified.
func (s *store) do(ctx context.Context, operation string, f func(context.Context) error) error {
	start := time.Now()
	err := s.doTries(ctx, f)
	s.metrics.storeSeconds.WithLabelValues(operation).Observe(time.Since(start).Seconds())
	err = postgres.Classify(err, operation)
	if errors.Is(err, fault.Unavailable) && ctx.Err() == nil { // else the caller gave up
		s.complain.Do(func() { s.log.WarnContext(ctx, "store unavailable", "operation", operation, "err", err) })
	}
	return err
}

func (s *store) doTries(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	err := f(ctx)
	for try := 1; isUndone(err) && try < undoneTries; try++ {
		s.metrics.storeUndone.Inc()
		err = f(ctx)
	}
	return err
}

// isUndone says whether Postgres undid a whole transaction because of others
// beside it (class 40): the same transaction may succeed now.
func isUndone(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && strings.HasPrefix(pg.Code, "40")
}

// kinds of events by their numbers in the store.
var kinds = map[int16]bell.Kind{
	1: bell.KindMessage,
	2: bell.KindFriendRequest,
	3: bell.KindFriendAdded,
	4: bell.KindFriendRemoved,
	5: bell.KindRequestSent,
	6: bell.KindRequestClosed,
	7: bell.KindBlocked,
	8: bell.KindUnblocked,
	9: bell.KindTombstone,
}

// kindNumber is the inverse of kinds.
func kindNumber(kind bell.Kind) int16 {
	for number, k := range kinds {
		if k == kind {
			return number
		}
	}
	panic("kind of event without a number: " + string(kind)) // a defect
}

// row scans one row into dest. It is a callback of a pipelined query.
func row(dest ...any) func(pgx.Row) error {
	return func(r pgx.Row) error { return r.Scan(dest...) }
}
