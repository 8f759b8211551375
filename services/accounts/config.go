package accounts

import (
	"fmt"
	"net/netip"
	"net/url"
	"time"

	"pymessage/internal/bell"
	"pymessage/internal/postgres"
	"pymessage/internal/service"
)

// Limits of the protocol. Lengths are in code points.
const (
	minUsername = 3
	maxUsername = 32
	minPin      = 4
	maxPin      = 128

	minID = 10_000_000
	maxID = 99_999_999
)

// Config are the settings of the accounts service.
type Config struct {
	service.Common

	ListenAddr     string         `env:"LISTEN_ADDR" help:"public port: REST" envDefault:":8080"`
	InternalAddr   string         `env:"INTERNAL_ADDR" help:"port for the other services" envDefault:":8081"`
	TrustedProxies []netip.Prefix `env:"TRUSTED_PROXIES" help:"comma list of CIDRs whose X-Forwarded-For is believed"`
	InternalSecret service.Secret `env:"INTERNAL_SECRET,required,notEmpty" help:"shared secret of the internal ports, at least 16 characters"`
	DatabaseURL    service.Secret `env:"DATABASE_URL,required,notEmpty" help:"postgres:// URL of the role that owns the schema accounts"`
	DatabaseConns  int32          `env:"DATABASE_CONNS" help:"most connections to the database" envDefault:"10"`
	bell.Redis

	PinPepper       service.Secret `env:"PIN_PEPPER,required,notEmpty" help:"secret mixed into every pin hash, at least 16 characters; when it changes, no pin is right any more"`
	Argon2MemoryKiB uint32         `env:"ARGON2_MEMORY_KIB" help:"memory of one pin hash, in KiB" envDefault:"19456"`
	Argon2Time      uint32         `env:"ARGON2_TIME" help:"passes of one pin hash over its memory" envDefault:"2"`
	Argon2Workers   int            `env:"ARGON2_WORKERS" help:"pins hashed at once; 0: one for each processor" envDefault:"0"`
	Argon2Queue     int            `env:"ARGON2_QUEUE" help:"pins that may wait to be hashed; beyond that logins are refused as unavailable" envDefault:"256"`

	PinRemembered time.Duration `env:"PIN_REMEMBERED" help:"how long a pin that was right is not hashed again; 0: it always is" envDefault:"5m"`

	LoginWindow             time.Duration `env:"LOGIN_WINDOW" help:"time over which attempts are counted" envDefault:"5m"`
	LoginFailuresPerAccount int           `env:"LOGIN_FAILURES_PER_ACCOUNT" help:"failed logins of one username in a window; logins under way count too" envDefault:"20"`
	LoginFailuresPerAddress int           `env:"LOGIN_FAILURES_PER_ADDRESS" help:"failed logins from one address in a window, logins under way too; apart from them, failed resumes" envDefault:"1000"`
	LoginFailuresOverall    int           `env:"LOGIN_FAILURES_OVERALL" help:"failed logins of everybody in a window, logins under way too; apart from them, failed resumes" envDefault:"10000"`
	CreationsPerAddress     int           `env:"CREATIONS_PER_ADDRESS" help:"accounts that one address may try to create in a window" envDefault:"1000"`

	SocialURL     string        `env:"SOCIAL_URL,required,notEmpty" help:"internal port of the social service, http://host:port"`
	DeletionGrace time.Duration `env:"DELETION_GRACE" help:"how long after the deletion of an account social looks once more for what came late" envDefault:"2m"`

	SessionLifetime       time.Duration `env:"SESSION_LIFETIME" help:"how long a token resumes its session, which then ends" envDefault:"720h"`
	MaxSessionsPerAccount int           `env:"MAX_SESSIONS_PER_ACCOUNT" help:"sessions of one account; beginning one more ends the oldest" envDefault:"100"`
}

// Validate returns every fault that the types of the fields do not rule out.
func (c *Config) Validate() []error {
	faults := []error{
		service.CheckSecret("INTERNAL_SECRET", c.InternalSecret),
		service.CheckSecret("PIN_PEPPER", c.PinPepper),
		postgres.CheckURL(string(c.DatabaseURL)),
		between("DATABASE_CONNS", int(c.DatabaseConns), 1, 1000),
		between("ARGON2_MEMORY_KIB", int(c.Argon2MemoryKiB), minPinMemory, maxPinMemory),
		between("ARGON2_TIME", int(c.Argon2Time), 1, maxPinTime),
		between("ARGON2_WORKERS", c.Argon2Workers, 0, 1024),
		between("ARGON2_QUEUE", c.Argon2Queue, 0, 1_000_000),
		between("LOGIN_FAILURES_PER_ACCOUNT", c.LoginFailuresPerAccount, 1, maxAttempts),
		between("LOGIN_FAILURES_PER_ADDRESS", c.LoginFailuresPerAddress, 1, maxAttempts),
		between("LOGIN_FAILURES_OVERALL", c.LoginFailuresOverall, 1, maxAttempts),
		between("CREATIONS_PER_ADDRESS", c.CreationsPerAddress, 1, maxAttempts),
		between("MAX_SESSIONS_PER_ACCOUNT", c.MaxSessionsPerAccount, 1, 10_000),
	}
	faults = append(faults, c.Redis.Faults()...)
	if c.LoginWindow < time.Second {
		faults = append(faults, fmt.Errorf("LOGIN_WINDOW must be at least a second"))
	}
	if u, err := url.Parse(c.SocialURL); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		faults = append(faults, fmt.Errorf("SOCIAL_URL is not a URL such as http://host:port")) // the value may hold a password
	}
	if c.DeletionGrace < 0 {
		faults = append(faults, fmt.Errorf("DELETION_GRACE must not be negative"))
	}
	if c.PinRemembered < 0 {
		faults = append(faults, fmt.Errorf("PIN_REMEMBERED must not be negative"))
	}
	if c.SessionLifetime < time.Second {
		faults = append(faults, fmt.Errorf("SESSION_LIFETIME must be at least a second"))
	}
	return faults
}

// maxAttempts is a limit that amounts to none.
const maxAttempts = 1_000_000_000

func between(name string, value, least, most int) error {
	if value < least || value > most {
		return fmt.Errorf("%s must be between %d and %d", name, least, most)
	}
	return nil
}
