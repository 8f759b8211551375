package social

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"time"

	"pymessage/internal/bell"
	"pymessage/internal/postgres"
	"pymessage/internal/service"
)

// Ids of users: 8 digits.
const (
	minID = 10_000_000
	maxID = 99_999_999
)

// Policies: who may write to whom.
const (
	policyAnyone  = "anyone"
	policyFriends = "friends"
)

// Config are the settings of the social service.
type Config struct {
	service.Common

	ListenAddr     string         `env:"LISTEN_ADDR" help:"public port: REST" envDefault:":8080"`
	InternalAddr   string         `env:"INTERNAL_ADDR" help:"port for the other services" envDefault:":8081"`
	InternalSecret service.Secret `env:"INTERNAL_SECRET,required,notEmpty" help:"shared secret of the internal ports, at least 16 characters"`
	DatabaseURL    service.Secret `env:"DATABASE_URL,required,notEmpty" help:"postgres:// URL of the role that owns the schema social"`
	DatabaseConns  int32          `env:"DATABASE_CONNS" help:"most connections to the database" envDefault:"16"`
	AccountsURL    string         `env:"ACCOUNTS_URL,required,notEmpty" help:"internal port of the accounts service, http://host:port"`

	bell.Redis

	TrustedProxies []netip.Prefix `env:"TRUSTED_PROXIES" help:"comma list of CIDRs whose X-Forwarded-For is believed"`

	MessagePolicy      string `env:"MESSAGE_POLICY" help:"who may write to a user: anyone or friends" envDefault:"anyone"`
	MaxPendingRequests int    `env:"MAX_PENDING_REQUESTS" help:"friend requests that may wait for one user's answer" envDefault:"1000"`

	MessageRetention time.Duration `env:"MESSAGE_RETENTION" help:"how long what is delivered is kept at least, for resumes and history; 0: always" envDefault:"0"`
	NonceRetention   time.Duration `env:"NONCE_RETENTION" help:"how long a nonce is remembered at least: a repeated send is one message" envDefault:"168h"`
}

// Validate returns every fault that the types of the fields do not rule out.
func (c *Config) Validate() []error {
	return append(c.Redis.Faults(),
		service.CheckSecret("INTERNAL_SECRET", c.InternalSecret),
		postgres.CheckURL(string(c.DatabaseURL)),
		between("DATABASE_CONNS", int(c.DatabaseConns), 1, 1000),
		checkAccountsURL(c.AccountsURL),
		checkPolicy(c.MessagePolicy),
		between("MAX_PENDING_REQUESTS", c.MaxPendingRequests, 1, 1_000_000),
		checkMessageRetention(c.MessageRetention),
		checkNonceRetention(c.NonceRetention),
	)
}

func between(name string, value, least, most int) error {
	if value < least || value > most {
		return fmt.Errorf("%s must be between %d and %d", name, least, most)
	}
	return nil
}

func checkAccountsURL(given string) error {
	u, err := url.Parse(given)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return errors.New("ACCOUNTS_URL is not a URL such as http://host:port") // the value may hold a password
	}
	return nil
}

func checkPolicy(given string) error {
	if given != policyAnyone && given != policyFriends {
		return fmt.Errorf("MESSAGE_POLICY must be %s or %s", policyAnyone, policyFriends)
	}
	return nil
}

// leastMessageRetention is for tests: those who want to see their messages again want more.
const leastMessageRetention = time.Second

func checkMessageRetention(given time.Duration) error {
	if given != 0 && given < leastMessageRetention {
		return fmt.Errorf("MESSAGE_RETENTION must be 0, which keeps everything, or at least %v", leastMessageRetention)
	}
	return nil
}

// leastNonceRetention is longer than any gateway tries to store a message.
const leastNonceRetention = time.Minute

func checkNonceRetention(given time.Duration) error {
	if given < leastNonceRetention {
		return fmt.Errorf("NONCE_RETENTION must be at least %v", leastNonceRetention)
	}
	return nil
}
