package accounts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
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

// Scripts look at groups of counters, each group for one attempt. Their arguments are
// the window and the limits of the counters of a group. They answer for each group
// which of its counters is full, from 1, or 0.
const (
	eachGroup = `
local n, answers = #ARGV - 1, {}
for first = 0, #KEYS - 1, n do
	local full = 0
	for i = n, 1, -1 do
		if tonumber(redis.call('GET', KEYS[first + i]) or '0') >= tonumber(ARGV[i + 1]) then full = i end
	end
	answers[#answers + 1] = full`
	endGroups = `
end
return answers`
)

// look says which counters are full, and counts nothing.
var look = redis.NewScript(eachGroup + endGroups)

// take counts an attempt in every counter of a group, or in none when one of them is
// full: what is refused because of its address must not fill everybody's counter. The
// window begins with the first attempt.
var take = redis.NewScript(eachGroup + `
	for i = 1, full == 0 and n or 0 do
		local key = KEYS[first + i]
		if redis.call('INCR', key) == 1 then redis.call('PEXPIRE', key, ARGV[1]) end
	end` + endGroups)

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

// resumes says for each address whether too many resumes have failed: the fault TooMany.
// Those under way do not count: when a gateway dies, all who were on it resume at once.
// A limit that guesses at once overrun will do, since nobody guesses a token: it is there
// to bound the work of those who try. Fault of all: Unavailable.
func (t *throttle) resumes(ctx context.Context, addresses []string) ([]error, error) {
	sites := map[string]int{} // place in groups: one look at each will do
	var groups [][]counter
	for _, address := range addresses {
		if _, ok := sites[site(address)]; !ok {
			sites[site(address)] = len(groups)
			groups = append(groups, t.resumeCounters(address))
		}
	}
	refused, _, err := t.ask(ctx, look, groups...)
	if err != nil {
		return nil, err
	}
	out := make([]error, len(addresses))
	for i, address := range addresses {
		out[i] = refused[sites[site(address)]]
	}
	return out, nil
}

// resumesFailed counts resumes that have failed, one for each address, and says which
// were too many: the fault TooMany. Fault of all: Unavailable.
func (t *throttle) resumesFailed(ctx context.Context, addresses []string) ([]error, error) {
	groups := make([][]counter, len(addresses))
	for i, address := range addresses {
		groups[i] = t.resumeCounters(address)
	}
	refused, _, err := t.ask(ctx, take, groups...)
	return refused, err
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
	refused, counted, err := t.ask(ctx, script, counters)
	if err != nil {
		return attempt{}, err
	}
	if refused[0] != nil || !counted {
		return attempt{}, refused[0]
	}
	return attempt{t, keysOf(counters)}, nil
}

// ask asks script about the attempts of groups of counters, which have the same limits
// in each. refused has for each the fault TooMany, or nil. Without Redis nothing is
// counted.
func (t *throttle) ask(ctx context.Context, script *redis.Script, groups ...[]counter) (refused []error, counted bool, err error) {
	args := []any{t.cfg.LoginWindow.Milliseconds()}
	for _, c := range groups[0] {
		args = append(args, c.limit)
	}
	asking, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	full, err := script.Run(asking, t.rdb, keysOf(slices.Concat(groups...)), args...).Int64Slice()
	refused = make([]error, len(groups))
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, false, fault.Wrap(fault.Unavailable, ctx.Err(), "given up")
	case err != nil:
		t.failed(err)
		return refused, false, nil
	}
	for i, counter := range full {
		if counter > 0 {
			refused[i] = fault.New(fault.TooMany, "too many attempts, try again later")
		}
	}
	return refused, true, nil
}

func keysOf(counters []counter) []string {
	keys := make([]string, len(counters))
	for i, c := range counters {
		keys[i] = c.key
	}
	return keys
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
