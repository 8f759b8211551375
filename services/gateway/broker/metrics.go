package broker

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	reconnects prometheus.Counter
	uncounted  prometheus.Counter
	garbage    prometheus.Counter
	unknown    prometheus.Counter
	restored   prometheus.Counter
}

func (b *Broker) measure(reg prometheus.Registerer) {
	f := promauto.With(reg)
	b.metrics = metrics{
		reconnects: f.NewCounter(prometheus.CounterOpts{Name: "pymessage_broker_reconnects_total",
			Help: "Times a subscriber connection to Redis was lost and made anew."}),
		uncounted: f.NewCounter(prometheus.CounterOpts{Name: "pymessage_broker_uncounted_total",
			Help: "Subscriber connections given up because Redis does not count what they subscribe to, such as after a failover."}),
		garbage: f.NewCounter(prometheus.CounterOpts{Name: "pymessage_broker_garbage_total",
			Help: "Payloads on our channels that are no envelopes; ignored."}),
		unknown: f.NewCounter(prometheus.CounterOpts{Name: "pymessage_broker_presence_unknown_total",
			Help: "Presence questions that could not be answered and counted as connected."}),
		restored: f.NewCounter(prometheus.CounterOpts{Name: "pymessage_broker_resubscriptions_total",
			Help: "Channels that had to be subscribed to again on a new connection."}),
	}
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "pymessage_broker_channels",
		Help: "Channels that are subscribed to or about to be: users with sockets on this gateway."},
		func() float64 {
			n := 0
			for _, l := range b.lines {
				n += l.size()
			}
			return float64(n)
		})
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "pymessage_broker_connected",
		Help: "1 while every subscriber connection to Redis is up and every channel is confirmed."},
		func() float64 {
			if b.Healthy() {
				return 1
			}
			return 0
		})
}
