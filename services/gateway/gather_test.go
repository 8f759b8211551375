package gateway

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"pymessage/internal/fault"
	"pymessage/internal/httpjson"
)

// answerTo refuses every third number.
func answerTo(n int) (string, error) {
	if n%3 == 0 {
		return "", fault.New(fault.Conflict, "%d is refused", n)
	}
	return fmt.Sprint("answer to ", n), nil
}

func answersTo(what []int) (out []httpjson.Each[string]) {
	for _, n := range what {
		out = append(out, httpjson.Answered(answerTo(n)))
	}
	return out
}

type numberAsk = ask[int, string]

func wantAnswer(t *testing.T, a *numberAsk) {
	t.Helper()
	await(t, fmt.Sprint("the answer to ", a.what), a.done)
	checkAnswer(t, a.what, a.answer, a.err)
}

func checkAnswer(t *testing.T, n int, got string, err error) {
	t.Helper()
	if want, refused := answerTo(n); got != want || fmt.Sprint(err) != fmt.Sprint(refused) {
		t.Errorf("%d got %q, %v; want %q, %v", n, got, err, want, refused)
	}
}

// call is one that a gather makes, which ends when a test has it end.
type call struct {
	ctx  context.Context
	what []int
	end  chan error
}

// newHeld makes a gather, whose calls a test gets to see and end.
func newHeld(t *testing.T, most int) (*gather[int, string], chan call) {
	t.Helper()
	calls := make(chan call, 100)
	var tasks sync.WaitGroup
	t.Cleanup(tasks.Wait)
	return &gather[int, string]{most: most, ctx: context.Background(), tasks: &tasks,
		call: func(ctx context.Context, what []int) ([]httpjson.Each[string], error) {
			c := call{ctx, what, make(chan error)}
			calls <- c
			if err := <-c.end; err != nil {
				return nil, err
			}
			return answersTo(what), nil
		}}, calls
}

// asking asks for numbers, in their order.
func asking(ctx context.Context, g *gather[int, string], numbers ...int) (asks []*numberAsk) {
	for _, n := range numbers {
		a := newAsk[int, string](ctx, n)
		g.put(a)
		asks = append(asks, a)
	}
	return asks
}

// next is the next call, which must be for these numbers.
func next(t *testing.T, calls <-chan call, numbers ...int) call {
	t.Helper()
	c := <-calls
	if !slices.Equal(c.what, numbers) {
		t.Errorf("a call asks for %v, want %v", c.what, numbers)
	}
	return c
}

// occupy lets as many calls be under way as may, each for one number, from 1001.
func occupy(t *testing.T, g *gather[int, string], calls <-chan call) (under []call, asks []*numberAsk) {
	t.Helper()
	for i := range callsAtOnce {
		asks = append(asks, asking(t.Context(), g, 1001+i)...)
		under = append(under, next(t, calls, 1001+i))
	}
	return under, asks
}

func finish(asks []*numberAsk, t *testing.T, under ...call) {
	t.Helper()
	for _, c := range under {
		c.end <- nil
	}
	for _, a := range asks {
		wantAnswer(t, a)
	}
}

func TestWhatIsAskedForWhileCallsAreUnderWayMakesTheNextOnes(t *testing.T) {
	t.Parallel()

	g, calls := newHeld(t, 4)
	under, asks := occupy(t, g, calls)
	asks = append(asks, asking(t.Context(), g, 1, 2, 3, 4, 5, 6)...)
	if len(calls) > 0 {
		t.Errorf("more than %d calls are under way", callsAtOnce)
	}
	under[0].end <- nil
	under[0] = next(t, calls, 1, 2, 3, 4)
	under[0].end <- nil
	under[0] = next(t, calls, 5, 6)
	finish(asks, t, under...)
	asks = asking(t.Context(), g, 7) // nobody asked for a while
	finish(asks, t, next(t, calls, 7))
}

func TestACallThatFailsFailsThoseItAskedForAlone(t *testing.T) {
	t.Parallel()

	g, calls := newHeld(t, 2)
	under, others := occupy(t, g, calls)
	failing := asking(t.Context(), g, 1, 2)
	others = append(others, asking(t.Context(), g, 4, 5)...)
	under[0].end <- nil
	down := fault.New(fault.Unavailable, "down")
	next(t, calls, 1, 2).end <- down
	under[0] = next(t, calls, 4, 5)
	finish(others, t, under...)
	for _, a := range failing {
		if _, err := a.wait(); !errors.Is(err, down) {
			t.Errorf("%d got %v", a.what, err)
		}
	}
}

func TestWhoGivesUpTakesNobodyAlong(t *testing.T) {
	t.Parallel()

	g, calls := newHeld(t, 10)
	under, others := occupy(t, g, calls)
	impatient, giveUp := context.WithCancel(t.Context())
	early := asking(impatient, g, 1)
	others = append(others, asking(t.Context(), g, 2)...)
	under[0].end <- nil
	under[0] = next(t, calls, 1, 2)
	late := asking(impatient, g, 4)
	others = append(others, asking(t.Context(), g, 5)...)
	giveUp()
	for _, a := range append(early, late...) { // one is asked for right now
		if got, err := a.wait(); got != "" || !errors.Is(err, fault.Unavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("who gave up got %q, %v", got, err)
		}
	}
	if err := under[0].ctx.Err(); err != nil {
		t.Errorf("the call for the others: %v", err)
	}
	under[0].end <- nil
	under[0] = next(t, calls, 5) // the other is not asked for any more
	finish(others, t, under...)
}

func TestCallsEndWithTheGateway(t *testing.T) {
	t.Parallel()

	g, calls := newHeld(t, 10)
	gateway, end := context.WithCancel(t.Context())
	g.ctx = gateway
	asks := asking(t.Context(), g, 1)
	c := next(t, calls, 1)
	end()
	await(t, "the end of a call", c.ctx.Done())
	finish(asks, t, c)
}

// TestEverybodyGetsTheirOwnAnswer lets many ask at once. Some give up at once, and some
// calls fail.
func TestEverybodyGetsTheirOwnAnswer(t *testing.T) {
	t.Parallel()

	const askers, questions, most = 50, 40, 8
	var under, made, answered, failed atomic.Int64
	down := fault.New(fault.Unavailable, "down")
	var tasks sync.WaitGroup
	g := &gather[int, string]{most: most, ctx: t.Context(), tasks: &tasks,
		call: func(_ context.Context, what []int) ([]httpjson.Each[string], error) {
			if n := under.Add(1); n > callsAtOnce || len(what) > most {
				t.Errorf("call %d at a time, for %d", n, len(what))
			}
			defer under.Add(-1)
			if made.Add(1)%10 == 0 {
				return nil, down
			}
			return answersTo(what), nil
		}}
	var asking sync.WaitGroup
	for i := range askers {
		asking.Go(func() {
			for j := range questions {
				ctx, cancel := context.WithCancel(t.Context())
				if rand.IntN(5) == 0 {
					cancel()
				}
				n := i*questions + j
				got, err := g.ask(ctx, n)
				switch {
				case errors.Is(err, down):
					failed.Add(1)
				case !errors.Is(err, context.Canceled):
					answered.Add(1)
					checkAnswer(t, n, got, err)
				}
				cancel()
			}
		})
	}
	asking.Wait()
	tasks.Wait()
	if answered.Load() < askers*questions/2 || failed.Load() == 0 || g.calling != 0 || g.waiting != nil {
		t.Errorf("%d answered, %d failed; %d calls and %v are left", answered.Load(), failed.Load(), g.calling, g.waiting)
	}
}
