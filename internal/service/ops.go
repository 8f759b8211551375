package service

import (
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"pymessage/internal/httpjson"
)

// newRegistry is a fresh registry with what every process exports.
func newRegistry(health *Health) *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	promauto.With(reg).NewGaugeVec(prometheus.GaugeOpts{
		Name: "pymessage_build_info",
		Help: "Always 1; the labels tell which build is running.",
	}, []string{"version", "commit"}).WithLabelValues(Version, Commit).Set(1)
	promauto.With(reg).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pymessage_ready",
		Help: "1 while /readyz says that the process takes traffic.",
	}, func() float64 {
		if len(health.Problems()) > 0 {
			return 0
		}
		return 1
	})
	return reg
}

// opsHandler serves the ops port: probes, metrics and profiles.
func (p *Process) opsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		httpjson.Write(w, http.StatusOK, map[string]string{"status": "alive"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if problems := p.Health.Problems(); len(problems) > 0 {
			httpjson.Write(w, http.StatusServiceUnavailable, map[string]any{"status": "not ready", "problems": problems})
			return
		}
		answer := map[string]any{"status": "ready"}
		if warnings := p.Health.Warnings(); len(warnings) > 0 {
			answer["warnings"] = warnings
		}
		httpjson.Write(w, http.StatusOK, answer)
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(p.Registry, promhttp.HandlerOpts{Registry: p.Registry}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
