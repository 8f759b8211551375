package httpjson_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"pymessage/internal/fault"
	"pymessage/internal/httpjson"
)

const most = 100

// double knows the double of every number but 13, and breaks down at 0.
func double(in ask) (answer, error) {
	n, err := strconv.Atoi(in.Name)
	switch {
	case err != nil:
		return answer{}, fault.New(fault.Invalid, "%s is not a number", in.Name)
	case n == 13:
		return answer{}, errors.New("superstition")
	}
	return answer{strconv.Itoa(2 * n)}, nil
}

// doubling serves numbers one by one and, unless it is of an earlier version, many at
// once.
func doubling(t *testing.T, earlier bool) *httpjson.Client {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	mux := httpjson.NewRouter()
	mux.Post("/one", httpjson.Endpoint(log, func(_ *http.Request, in ask) (answer, error) { return double(in) }))
	if !earlier {
		mux.Post("/many", httpjson.ManyEndpoint(log, most, func(_ context.Context, in []ask) ([]httpjson.Each[answer], error) {
			var out []httpjson.Each[answer]
			for _, one := range in {
				if one.Name == "0" {
					return nil, fault.New(fault.Unavailable, "out of order")
				}
				if one.Name != "-1" { // which is passed over
					out = append(out, httpjson.Answered(double(one)))
				}
			}
			return out, nil
		}))
	}
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	c := httpjson.NewClient(srv.URL, secret)
	t.Cleanup(c.Close)
	return c
}

func doubles(t *testing.T, c *httpjson.Client, names ...string) ([]httpjson.Each[answer], error) {
	t.Helper()
	var in []ask
	for _, name := range names {
		in = append(in, ask{name})
	}
	return httpjson.PostMany(t.Context(), c, "/many", in, func(ctx context.Context, one ask) (out answer, err error) {
		err = c.Post(ctx, "/one", one, &out)
		return out, err
	})
}

func TestEachOfManyHasItsOwnAnswerAlsoOfAnEarlierVersion(t *testing.T) {
	t.Parallel()

	for _, earlier := range []bool{false, true} {
		t.Run(fmt.Sprint("earlier ", earlier), func(t *testing.T) {
			t.Parallel()
			c := doubling(t, earlier)
			var names []string
			for n := range most {
				names = append(names, strconv.Itoa(n+1))
			}
			names[50] = "x"
			got, err := doubles(t, c, names...)
			if err != nil || len(got) != most {
				t.Fatalf("%d answers, %v", len(got), err)
			}
			for i, each := range got {
				out, err := each.Get()
				want, wrong := double(ask{names[i]})
				if out != want || (err == nil) != (wrong == nil) || wrong != nil && fault.KindOf(err) != fault.KindOf(wrong) {
					t.Errorf("%s: %+v, %v; want %+v, %v", names[i], out, err, want, wrong)
				}
			}
			if _, err := got[50].Get(); fault.Message(err) != "x is not a number" {
				t.Errorf("the message is %q", fault.Message(err))
			}
			if _, err := got[12].Get(); fault.Message(err) != "internal error" {
				t.Errorf("a defect leaks: %v", err)
			}
		})
	}
}

func TestWhatFailsForAllOfManyFailsWhole(t *testing.T) {
	t.Parallel()

	c := doubling(t, false)
	for name, asked := range map[string]struct {
		names []string
		want  fault.Kind
	}{
		"a failure":           {[]string{"1", "0"}, fault.Unavailable},
		"more than are taken": {make([]string, most+1), fault.Invalid},
		"too few answers":     {[]string{"1", "-1", "2"}, fault.Unavailable},
	} {
		if got, err := doubles(t, c, asked.names...); fault.KindOf(err) != asked.want || got != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
