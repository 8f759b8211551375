package gateway

import (
	"fmt"
	"net/netip"
	"net/url"
	"time"

	"pymessage/internal/bell"
	"pymessage/internal/service"
)

// Config are the settings of a gateway. The zero value is not useful; the defaults
// are in the tags.
type Config struct {
	ListenAddr string `env:"LISTEN_ADDR" help:"public port: WebSocket and web page" envDefault:":6969"`
	service.Common

	AccountsURL    string         `env:"ACCOUNTS_URL,required,notEmpty" help:"internal port of the accounts service, http://host:port"`
	SocialURL      string         `env:"SOCIAL_URL,required,notEmpty" help:"internal port of the social service, http://host:port"`
	InternalSecret service.Secret `env:"INTERNAL_SECRET,required,notEmpty" help:"shared secret of the internal ports, at least 16 characters"`
	bell.Redis

	AllowedOrigins []string       `env:"ALLOWED_ORIGINS" help:"comma list of Origins that browsers may connect from; * is any, empty is the host itself"`
	TrustedProxies []netip.Prefix `env:"TRUSTED_PROXIES" help:"comma list of CIDRs whose X-Forwarded-For is believed"`

	Heartbeat      time.Duration `env:"HEARTBEAT" help:"time between two pings to an idle socket" envDefault:"25s"`
	Patience       time.Duration `env:"PATIENCE" help:"how long a socket may take to answer a ping, or to take a write" envDefault:"10s"`
	LoginTimeout   time.Duration `env:"LOGIN_TIMEOUT" help:"how long a socket may stay without a login" envDefault:"10s"`
	RequestsPerSec float64       `env:"REQUESTS_PER_SECOND" help:"requests a socket may send each second" envDefault:"100"`
	RequestBurst   int           `env:"REQUEST_BURST" help:"requests a socket may send at once" envDefault:"1000"`
	SocketsPerUser int           `env:"SOCKETS_PER_USER" help:"sockets of one account on this gateway" envDefault:"32"`
	QueueBytes     int           `env:"QUEUE_BYTES" help:"bytes queued for a socket beyond which events wait in the store" envDefault:"262144"`
	Lanes          int           `env:"LANES" help:"batches of messages that this gateway stores at once" envDefault:"4"`
	SendTimeout    time.Duration `env:"SEND_TIMEOUT" help:"how long a batch of messages is tried while the store is away" envDefault:"5s"`
	HeadCheck      time.Duration `env:"HEAD_CHECK" help:"time between two checks for events whose ring was lost" envDefault:"15s"`
	ProbeInterval  time.Duration `env:"PROBE_INTERVAL" help:"time between two rings of the gateway for itself, to learn whether rings come through" envDefault:"10s"`
	DrainSpread    time.Duration `env:"DRAIN_SPREAD" help:"time over which the sockets are closed when stopping" envDefault:"10s"`
}

// Validate returns every fault of the settings.
func (c *Config) Validate() []error {
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf("  "+format, args...))
		}
	}
	if err := service.CheckSecret("INTERNAL_SECRET", c.InternalSecret); err != nil {
		faults = append(faults, err)
	}
	for _, fault := range c.Redis.Faults() {
		if fault != nil {
			faults = append(faults, fault)
		}
	}
	check(isBaseURL(c.AccountsURL), "ACCOUNTS_URL must be http://host:port")
	check(isBaseURL(c.SocialURL), "SOCIAL_URL must be http://host:port")
	for _, s := range []struct {
		name string
		d    time.Duration
	}{
		{"HEARTBEAT", c.Heartbeat}, {"PATIENCE", c.Patience}, {"LOGIN_TIMEOUT", c.LoginTimeout},
		{"SEND_TIMEOUT", c.SendTimeout}, {"HEAD_CHECK", c.HeadCheck},
		{"PROBE_INTERVAL", c.ProbeInterval},
	} {
		check(s.d >= time.Second, "%s must be at least 1s", s.name)
	}
	check(c.RequestsPerSec > 0, "REQUESTS_PER_SECOND must be positive")
	for _, s := range []struct {
		name string
		n    int
	}{
		{"REQUEST_BURST", c.RequestBurst}, {"SOCKETS_PER_USER", c.SocketsPerUser},
		{"QUEUE_BYTES", c.QueueBytes}, {"LANES", c.Lanes},
	} {
		check(s.n > 0, "%s must be positive", s.name)
	}
	check(c.DrainSpread >= 0, "DRAIN_SPREAD must not be negative")
	return faults
}

func isBaseURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && (u.Path == "" || u.Path == "/")
}
