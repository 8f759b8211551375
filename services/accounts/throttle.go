package accounts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"

	"pymessage/internal/bell"
	"pymessage/internal/fault"
)

const (
	// redisTimeout is what throttling may add to a login. Later answers are not
	// waited for: whoever knows the pin gets in without Redis too.
	redisTimeout = 100 * time.Millisecond

	// redisLogPause keeps a Redis that is down from filling the log.
	redisLogPause = time.Minute

	// ipv6Site is the part of an IPv6 address that a customer is given: who has
	// one address has them all.
	ipv6Site = 64
)

// findFull answers which counter is full, from 1.
const findFull = `
for i, key in ipairs(KEYS) do
	if tonumber(redis.call('GET', key) or '0') >= tonumber(ARGV[i + 1]) then return i end
end`

// look says whether a counter is full, and counts nothing. It answers as take does.
var look = redis.NewScript(findFull + `
return 0`)

// take counts an attempt in every counter, or in none when one of them is full:
// what is refused because of its address must not fill everybody's counter. The
// window begins with the first attempt. It answers which counter is full, from 1,
// or 0.
var take = redis.NewScript(findFull + `
for _, key in ipairs(KEYS) do
	if redis.call('INCR', key) == 1 then redis.call('PEXPIRE', key, ARGV[1]) end
end
return 0`)

// giveBack takes an attempt out again, unless its window is over.
var giveBack = redis.NewScript(`
for _, key in ipairs(KEYS) do
	if tonumber(redis.call('GET', key) or '0') > 0 then redis.call('DECR', key) end
end`)

// throttle counts attempts in Redis, so that all pods know of them. Attempts are
// counted before the work and given back when they were not failures: otherwise
// many guesses at once would all be under the limit. Without Redis it lets
// everything through.
type throttle struct {
	rdb     redis.UniversalClient
	prefix  string
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	rarely  rate.Sometimes
	timeout time.Duration // redisTimeout, or longer in tests that do not mean it
}

// openThrottle makes a throttle, which connects when it is first asked.
func openThrottle(cfg Config, log *slog.Logger, m *metrics) (*throttle, error) {
	rdb, err := cfg.Redis.Connect()
	if err != nil {
		return nil, err
	}
	return &throttle{rdb: rdb, prefix: cfg.Redis.Keys("throttle"), cfg: cfg, log: log, metrics: m,
		rarely: rate.Sometimes{First: 1, Interval: redisLogPause}, timeout: redisTimeout}, nil
}

// close gives up the connections; nothing is left to be told of what fails.
func (t *throttle) close() { _ = t.rdb.Close() }

// measure exports what its connections do.
func (t *throttle) measure(reg prometheus.Registerer) {
	bell.Measure(reg, map[string]redis.UniversalClient{"throttle": t.rdb})
}

// counter is one of the counters that an attempt is counted in.
type counter struct {
	key   string
	limit int
}

// attempt is one that was let through. Those that Redis did not count have no
// keys.
type attempt struct {
	throttle *throttle
	keys     []string
}

// login lets a login through or returns the fault TooMany.
func (t *throttle) login(ctx context.Context, u username, address string) (attempt, error) {
	account := sha256.Sum256([]byte(u.key)) // names are nobody's business there, and may be long
	return t.attempt(ctx, take,
		counter{t.prefix + "login:account:" + hex.EncodeToString(account[:16]), t.cfg.LoginFailuresPerAccount},
		counter{t.prefix + "login:address:" + site(address), t.cfg.LoginFailuresPerAddress},
		counter{t.prefix + "login:all", t.cfg.LoginFailuresOverall},
	)
}

// create lets the creation of an account through or returns the fault TooMany.
func (t *throttle) create(ctx context.Context, address string) (attempt, error) {
	return t.attempt(ctx, take, counter{t.prefix + "create:address:" + site(address), t.cfg.CreationsPerAddress})
}

// resume returns the fault TooMany when too many resumes have failed. Those under
// way do not count: when a gateway dies, all who were on it resume at once. A limit
// that guesses at once overrun will do, since nobody guesses a token: it is there to
// bound the work of those who try.
func (t *throttle) resume(ctx context.Context, address string) error {
	_, err := t.attempt(ctx, look, t.resumeCounters(address)...)
	return err
}

// resumeFailed counts a resume that has failed, or returns the fault TooMany.
func (t *throttle) resumeFailed(ctx context.Context, address string) error {
	_, err := t.attempt(ctx, take, t.resumeCounters(address)...)
	return err
}

// resumeCounters are apart from those of logins: when many sessions are over at
// once, their users must be able to log in.
func (t *throttle) resumeCounters(address string) []counter {
	return []counter{
		{t.prefix + "resume:address:" + site(address), t.cfg.LoginFailuresPerAddress},
		{t.prefix + "resume:all", t.cfg.LoginFailuresOverall},
	}
}

// attempt asks script whether the counters let an attempt through.
func (t *throttle) attempt(ctx context.Context, script *redis.Script, counters ...counter) (attempt, error) {
	keys := make([]string, len(counters))
	args := []any{t.cfg.LoginWindow.Milliseconds()}
	for i, c := range counters {
		keys[i] = c.key
		args = append(args, c.limit)
	}
	asking, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	full, err := script.Run(asking, t.rdb, keys, args...).Int()
	switch {
	case err != nil && ctx.Err() != nil:
		return attempt{}, fault.Wrap(fault.Unavailable, ctx.Err(), "given up")
	case err != nil:
		t.failed(err)
		return attempt{}, nil
	case full > 0:
		return attempt{}, fault.New(fault.TooMany, "too many attempts, try again later")
	}
	return attempt{t, keys}, nil
}

// forgive takes back an attempt that was not a failure, also when who made it is
// gone.
func (a attempt) forgive(ctx context.Context) {
	if len(a.keys) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.throttle.timeout)
	defer cancel()
	if err := giveBack.Run(ctx, a.throttle.rdb, a.keys).Err(); err != nil && err != redis.Nil {
		a.throttle.failed(err)
	}
}

func (t *throttle) failed(err error) {
	t.metrics.throttleFailures.Inc()
	t.rarely.Do(func() {
		t.log.Warn("throttling is off, Redis does not count attempts", "err", err)
	})
}

// ping says whether Redis answers.
func (t *throttle) ping(ctx context.Context) error {
	if err := t.rdb.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("asking Redis: %w", err)
	}
	return nil
}

// site is what counts as one address. What is none shares a counter: the
// addresses come from our own gateways, so it is a rare mistake, and must not be
// a way around the limit.
func site(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return "unknown"
	}
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return a.String()
	}
	return netip.PrefixFrom(a, ipv6Site).Masked().String()
}
