package httpjson

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"golang.org/x/sync/errgroup"

	"pymessage/internal/fault"
)

// Many requests of one kind may come in one body, and are answered together, each by
// itself: one that fails does not fail its neighbours.
//
//	{"asks":[A, B]}  ──▶  {"answers":[{"value":A'}, {"value":{},"error":{"code":...}}]}

type asks[In any] struct {
	Asks []In `json:"asks"`
}

type answers[Out any] struct {
	Answers []Each[Out] `json:"answers"`
}

// Each is the answer to one of many: a value, or a fault.
type Each[Out any] struct {
	Value Out          `json:"value"`
	Error *errorDetail `json:"error,omitempty"`
}

// Answered is what a function has returned for one of many. An error that is no fault
// says nothing more than that: who finds it has to log it.
func Answered[Out any](value Out, err error) Each[Out] {
	if err != nil {
		return Each[Out]{Error: &errorDetail{fault.KindOf(err), fault.Message(err)}}
	}
	return Each[Out]{Value: value}
}

// Get is the reverse of Answered.
func (e Each[Out]) Get() (Out, error) {
	if e.Error != nil {
		return e.Value, &fault.Error{Kind: e.Error.Code, Message: e.Error.Message}
	}
	return e.Value, nil
}

// ManyEndpoint is an Endpoint for up to most requests in one body. f gives an answer for
// each, in order; its error is that of all of them.
func ManyEndpoint[In, Out any](log *slog.Logger, most int,
	f func(ctx context.Context, in []In) ([]Each[Out], error)) http.HandlerFunc {
	return Endpoint(log, func(r *http.Request, in asks[In]) (out answers[Out], err error) {
		if len(in.Asks) > most {
			return out, fault.New(fault.Invalid, "at most %d at once", most)
		}
		out.Answers, err = f(r.Context(), in.Asks)
		return out, err
	})
}

// singlesAtOnce bounds the requests that stand for one of many.
const singlesAtOnce = 32

// PostMany asks for many at once and gives an answer for each, in order. The error is
// that of all of them, as of Client.Post. A service of the version before does not know
// the path: it is asked by one, for each of them.
func PostMany[In, Out any](ctx context.Context, c *Client, path string, in []In,
	one func(context.Context, In) (Out, error)) ([]Each[Out], error) {
	var out answers[Out]
	err := c.Post(ctx, path, asks[In]{in}, &out)
	switch {
	case errors.Is(err, fault.NotFound):
		return oneByOne(ctx, in, one), nil
	case err != nil:
		return nil, err
	case len(out.Answers) != len(in):
		return nil, fault.New(fault.Unavailable, "service gave %d answers to %d requests", len(out.Answers), len(in))
	}
	return out.Answers, nil
}

func oneByOne[In, Out any](ctx context.Context, in []In, one func(context.Context, In) (Out, error)) []Each[Out] {
	out := make([]Each[Out], len(in))
	var group errgroup.Group
	group.SetLimit(singlesAtOnce)
	for i := range in {
		group.Go(func() error {
			out[i] = Answered(one(ctx, in[i]))
			return nil
		})
	}
	_ = group.Wait() // each has its own error
	return out
}
