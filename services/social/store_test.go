package social

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"pymessage/internal/fault"
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
	for setting, most := range map[string]int64{"idle_in_transaction_session_timeout": 30_000, "tcp_keepalives_idle": 15} {
		if got := w.value(`SELECT setting::bigint FROM pg_settings WHERE name = $1`, setting); got < 1 || got > most {
			t.Errorf("%s is %d", setting, got)
		}
	}
}
