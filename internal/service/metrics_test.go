package service_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"pymessage/internal/fault"
	"pymessage/internal/service"
)

// measured is a router with the middleware, and the registry that it fills.
func measured() (http.Handler, *prometheus.Registry) {
	reg := prometheus.NewRegistry()
	r := chi.NewRouter()
	r.Use(service.MeasureHTTP(reg))
	r.Get("/users/{id}", func(http.ResponseWriter, *http.Request) {})
	r.Post("/users/{id}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusConflict) })
	r.Get("/bug", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	return r, reg
}

func request(h http.Handler, method, path string) {
	defer func() { _ = recover() }() // as net/http does
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(method, path, nil))
}

func TestRequestsAreMeasuredByRouteMethodAndClass(t *testing.T) {
	t.Parallel()

	h, reg := measured()
	for _, r := range [][2]string{
		{"GET", "/users/1"}, {"GET", "/users/2"}, {"POST", "/users/3"}, {"DELETE", "/users/4"},
		{"GET", "/bug"}, {"GET", "/guessed/1"}, {"GET", "/guessed/2"}, {"HACK", "/users/5"},
	} {
		request(h, r[0], r[1])
	}
	want := map[string]uint64{
		"GET /users/{id} 2xx": 2, "POST /users/{id} 4xx": 1, "GET /bug 5xx": 1,
		"GET none 4xx": 2, "DELETE none 4xx": 1, "other none 4xx": 1,
	}
	if diff := cmp.Diff(want, counts(t, reg)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

// counts is how many requests were measured, by "method route class".
func counts(t *testing.T, reg *prometheus.Registry) map[string]uint64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]uint64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			out[strings.Join([]string{labels["method"], labels["route"], labels["code"]}, " ")] = m.GetHistogram().GetSampleCount()
		}
	}
	return out
}

func TestAnOutcomeIsOkOrTheKindOfTheFault(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"ok": nil, "too_many": fault.New(fault.TooMany, "x"), "internal": errors.New("a defect"),
	} {
		if got := service.Outcome(err); got != want {
			t.Errorf("%v is %s", err, got)
		}
	}
}

func TestCountersExistFromTheStart(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	service.NewMetrics(reg, "pymessage_test_").Counters("logins_total", "Logins by outcome.", "outcome",
		service.Outcomes(fault.TooMany)...)
	const want = `
# HELP pymessage_test_logins_total Logins by outcome.
# TYPE pymessage_test_logins_total counter
pymessage_test_logins_total{outcome="ok"} 0
pymessage_test_logins_total{outcome="too_many"} 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
