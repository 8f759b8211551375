// Package testenv gives tests real stores: a Postgres and a Redis that are
// started when the first test of a package asks for them, shared by its tests
// without being seen, and gone after the last. A package that uses it has
//
//	func TestMain(m *testing.M) { testenv.Main(m) }
//
// TEST_POSTGRES_URL (a superuser's) and TEST_REDIS_URL name servers to use
// instead.
package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// stopTimeout bounds the end of the shared servers after the tests.
const stopTimeout = 30 * time.Second

// shared is what the tests of this process have in common.
var shared struct {
	postgres lazy[string]
	redis    lazy[string]
	folder   lazy[*folder]

	mu    sync.Mutex
	stops []func(context.Context) error // run in reverse order
}

// lazy is a value that is made when it is first asked for.
type lazy[T any] struct {
	once  sync.Once
	value T
	err   error
}

func (l *lazy[T]) get(make func() (T, error)) (T, error) {
	l.once.Do(func() { l.value, l.err = make() })
	return l.value, l.err
}

// Main runs the tests of a package, stops what they had started, and fails if
// goroutines are left over. It does not return.
func Main(m *testing.M, options ...goleak.Option) {
	code := m.Run()
	if err := stopShared(); err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		code = max(code, 1)
	}
	if code == 0 {
		if err := goleak.Find(options...); err != nil {
			fmt.Fprintln(os.Stderr, "testenv: goroutines left over:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// atEnd has stop called after the last test.
func atEnd(stop func(context.Context) error) {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	shared.stops = append(shared.stops, stop)
}

func stopShared() error {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	var errs []error
	for i := len(shared.stops) - 1; i >= 0; i-- {
		errs = append(errs, shared.stops[i](ctx))
	}
	shared.stops = nil
	return errors.Join(errs...)
}
