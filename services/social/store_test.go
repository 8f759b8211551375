package social

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"pymessage/internal/fault"
	"pymessage/internal/postgres"
)

func TestWhatPostgresUndoesIsBegunAnewAFewTimes(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	deadlock := &pgconn.PgError{Code: "40P01"}
	for _, c := range []struct {
		undone, tries int
		kind          fault.Kind // "": it succeeds
	}{{0, 1, ""}, {1, 2, ""}, {2, 3, ""}, {99, 3, fault.Unavailable}} {
		tries := 0
		before := testutil.ToFloat64(w.srv.metrics.storeUndone)
		err := w.srv.store.do(t.Context(), "test", func(context.Context) error {
			if tries++; tries <= c.undone {
				return deadlock
			}
			return nil
		})
		if tries != c.tries || (c.kind == "") != (err == nil) || (err != nil && !errors.Is(err, c.kind)) {
			t.Errorf("undone %d times: %d tries, %v", c.undone, tries, err)
		}
		if counted := testutil.ToFloat64(w.srv.metrics.storeUndone) - before; int(counted) != c.tries-1 {
			t.Errorf("undone %d times: %v counted", c.undone, counted)
		}
	}
}

func TestWhatIsWrongForGoodIsNotTriedAgain(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	tries := 0
	err := w.srv.store.do(t.Context(), "test", func(context.Context) error {
		tries++
		return &pgconn.PgError{Code: "42P01"}
	})
	if tries != 1 || fault.KindOf(err) != fault.Internal {
		t.Errorf("%d tries, %v", tries, err)
	}
}

func TestALostClientDoesNotHoldItsLocksForLong(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	if got := w.value(`SELECT setting::bigint FROM pg_settings WHERE name = 'tcp_keepalives_idle'`); got < 1 || got > 15 {
		t.Errorf("tcp_keepalives_idle is %d", got)
	}
	users := w.users(2)
	w.send("lane", 1, message(users[0], users[1], "before"))
	err := postgres.InTx(t.Context(), w.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `SELECT FROM inboxes WHERE user_id = $1 FOR UPDATE`, users[1]); err != nil {
			return err
		}
		w.send("lane", 2, message(users[0], users[1], "meanwhile")) // waits for the inbox
		return nil
	})
	if err := postgres.Classify(err, "holding a lock"); !errors.Is(err, fault.Unavailable) {
		t.Errorf("who held the lock got %v", err)
	}
}
