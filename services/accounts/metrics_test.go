package accounts

import (
	"errors"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"pymessage/internal/fault"
)

func TestMetricsAreNamedAsPrometheusWants(t *testing.T) {
	t.Parallel()

	reg := prometheus.NewPedanticRegistry()
	newMetrics(reg)
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

func TestAnOutcomeIsOkOrTheKindOfTheFault(t *testing.T) {
	t.Parallel()

	for want, err := range map[string]error{
		"ok": nil, "too_many": fault.New(fault.TooMany, "x"), "internal": errors.New("a defect"),
	} {
		if got := outcome(err); got != want {
			t.Errorf("%v is %s", err, got)
		}
	}
}
