package accounts

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"pymessage/internal/fault"
	"pymessage/internal/service"
	"pymessage/services/accounts/accountsapi"
)

// guess tries a wrong pin.
func guess(t *testing.T, s *server, name, address string) error {
	t.Helper()
	_, err := s.login(t.Context(), accountsapi.Credentials{Username: name, Pin: "wrong", Address: address})
	return err
}

func TestGuessesAtAnAccountAreCountedByAllPodsTogether(t *testing.T) {
	t.Parallel()

	cfg := migrate(t, testConfig(t))
	cfg.LoginFailuresPerAccount = 4
	pods := []*server{start(t, cfg), start(t, cfg)}
	register(t, pods[0], "bob", "1234")
	register(t, pods[0], "ann", "1234")
	for i := range 4 {
		wantFault(t, guess(t, pods[i%2], "bob", fmt.Sprintf("192.0.2.%d", i)), fault.Unauthorized)
	}
	for _, pod := range pods {
		_, err := pod.login(t.Context(), newcomer("BOB", "1234"))
		if fault.KindOf(err) != fault.TooMany || err.Error() != "too many attempts, try again later" {
			t.Errorf("the fifth attempt got %v", err)
		}
		if _, err := pod.login(t.Context(), newcomer("ann", "1234")); err != nil {
			t.Errorf("somebody else got %v", err)
		}
	}
}

func TestGuessesAtOnceDoNotOverrunTheLimit(t *testing.T) {
	t.Parallel()

	cfg := migrate(t, testConfig(t))
	cfg.LoginFailuresPerAccount = 5
	s := start(t, cfg)
	register(t, s, "bob", "1234")
	var mu sync.Mutex
	got := map[string]int{}
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			err := guess(t, s, "bob", home)
			mu.Lock()
			defer mu.Unlock()
			got[service.Outcome(err)]++
		})
	}
	wg.Wait()
	if diff := cmp.Diff(map[string]int{"unauthorized": 5, "too_many": 35}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLoginsThatSucceedAreNeverTooMany(t *testing.T) {
	t.Parallel()

	cfg := migrate(t, testConfig(t))
	cfg.LoginFailuresPerAccount, cfg.LoginFailuresPerAddress, cfg.LoginFailuresOverall = 2, 2, 2
	s := start(t, cfg)
	register(t, s, "bob", "1234")
	wantFault(t, guess(t, s, "bob", home), fault.Unauthorized)
	for range 5 {
		if _, err := s.login(t.Context(), newcomer("bob", "1234")); err != nil {
			t.Fatal(err)
		}
	}
}

func TestGuessesFromAnAddressAndOverallAreCounted(t *testing.T) {
	t.Parallel()

	cfg := migrate(t, testConfig(t))
	cfg.LoginFailuresPerAddress, cfg.LoginFailuresOverall = 3, 5
	s := start(t, cfg)
	for i := range 3 {
		wantFault(t, guess(t, s, fmt.Sprintf("name%d", i), fmt.Sprintf("2001:db8:1:2::%d", i)), fault.Unauthorized)
	}
	for i := range 10 { // refused for their address, they do not use up what everybody has
		wantFault(t, guess(t, s, fmt.Sprintf("name%d", i), "2001:db8:1:2:ffff::1"), fault.TooMany)
	}
	wantFault(t, guess(t, s, "name0", "2001:db8:1:3::1"), fault.Unauthorized)
	wantFault(t, guess(t, s, "name1", "192.0.2.1"), fault.Unauthorized)
	wantFault(t, guess(t, s, "name2", "192.0.2.2"), fault.TooMany)
}

func TestAnAddressMayCreateSoManyAccounts(t *testing.T) {
	t.Parallel()

	cfg := migrate(t, testConfig(t))
	cfg.CreationsPerAddress = 2
	s := start(t, cfg)
	register(t, s, "first", "1234")
	_, err := s.create(t.Context(), newcomer("FIRST", "1234")) // costs a hash too
	wantFault(t, err, fault.Conflict)
	_, err = s.create(t.Context(), newcomer("second", "1234"))
	wantFault(t, err, fault.TooMany)
	elsewhere := accountsapi.Credentials{Username: "second", Pin: "1234", Address: "192.0.2.2"}
	if _, err := s.create(t.Context(), elsewhere); err != nil {
		t.Errorf("another address got %v", err)
	}
	if _, err := s.login(t.Context(), newcomer("first", "1234")); err != nil {
		t.Errorf("a login from the address got %v", err)
	}
}

func TestEveryCounterIsOursNamesNobodyAndEnds(t *testing.T) {
	t.Parallel()

	cfg := migrate(t, testConfig(t))
	s := start(t, cfg)
	register(t, s, "somebody", "1234")
	for range 3 {
		wantFault(t, guess(t, s, "somebody", home), fault.Unauthorized)
	}
	keys, err := s.throttle.rdb.Keys(t.Context(), cfg.RedisPrefix+"*").Result()
	if err != nil || len(keys) != 4 {
		t.Fatalf("keys are %q, %v", keys, err)
	}
	for _, key := range keys {
		if !strings.HasPrefix(key, cfg.RedisPrefix+":throttle:") || strings.Contains(key, "somebody") {
			t.Errorf("key %s", key)
		}
		left, err := s.throttle.rdb.PTTL(t.Context(), key).Result()
		if err != nil || left <= 0 || left > cfg.LoginWindow {
			t.Errorf("%s ends in %v, %v", key, left, err)
		}
	}
	// The window over, all is forgotten.
	if err := s.throttle.rdb.Del(t.Context(), keys...).Err(); err != nil {
		t.Fatal(err)
	}
	wantFault(t, guess(t, s, "somebody", home), fault.Unauthorized)
}

func TestAnAttemptGivenBackAfterItsWindowLeavesNothing(t *testing.T) {
	t.Parallel()

	cfg := testConfig(t)
	s := start(t, cfg)
	a, err := s.throttle.create(t.Context(), home)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.throttle.rdb.Del(t.Context(), a.keys...).Err(); err != nil {
		t.Fatal(err)
	}
	a.forgive(t.Context())
	if n, err := s.throttle.rdb.Exists(t.Context(), a.keys...).Result(); n != 0 || err != nil {
		t.Errorf("%d counters are left, %v", n, err)
	}
	if n := testutil.ToFloat64(s.metrics.throttleFailures); n != 0 {
		t.Errorf("%v failures are counted", n)
	}
}

func TestWithoutRedisLoginsGoOn(t *testing.T) {
	t.Parallel()

	s, redis, book := startWithRedis(t, func(c *Config) { c.LoginFailuresPerAccount = 2 })
	register(t, s, "bob", "1234")
	if err := redis.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.throttle.timeout = redisTimeout
	for range 4 {
		wantFault(t, guess(t, s, "bob", home), fault.Unauthorized)
	}
	if _, err := s.login(t.Context(), newcomer("bob", "1234")); err != nil {
		t.Errorf("the right pin got %v", err)
	}
	register(t, s, "ann", "1234")
	if n := testutil.ToFloat64(s.metrics.throttleFailures); n != 6 {
		t.Errorf("%v failures are counted, want 6", n)
	}
	if text := book.String(); strings.Count(text, "throttling is off") != 1 {
		t.Errorf("the log should say it once:\n%s", text)
	}
	if err := redis.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.throttle.timeout = 20 * time.Second
	for deadline := time.Now().Add(20 * time.Second); fault.KindOf(guess(t, s, "bob", home)) != fault.TooMany; {
		if time.Now().After(deadline) {
			t.Fatal("throttling does not come back with Redis")
		}
	}
}

func TestARedisThatHangsDelaysALoginOnlyShortly(t *testing.T) {
	t.Parallel()

	s, redis, _ := startWithRedis(t, func(*Config) {})
	bob := register(t, s, "bob", "1234")
	if err := redis.Freeze(); err != nil {
		t.Fatal(err)
	}
	s.throttle.timeout = redisTimeout
	begin := time.Now()
	if got, err := s.login(t.Context(), newcomer("bob", "1234")); err != nil || got != withoutSession(bob) {
		t.Errorf("got %+v, %v", got, err)
	}
	if took := time.Since(begin); took > 5*time.Second { // 100 ms on a machine that has time
		t.Errorf("it took %v", took)
	}
	if n := testutil.ToFloat64(s.metrics.throttleFailures); n != 1 {
		t.Errorf("%v failures are counted", n)
	}
	if err := redis.Thaw(); err != nil {
		t.Fatal(err)
	}
}

func TestAnAddressCountsWithItsSite(t *testing.T) {
	t.Parallel()

	for address, want := range map[string]string{
		"192.0.2.7":               "192.0.2.7",
		"::ffff:192.0.2.7":        "192.0.2.7",
		"2001:db8:1:2:3:4:5:6":    "2001:db8:1:2::/64",
		"2001:DB8:1:2::":          "2001:db8:1:2::/64",
		"fe80::1%eth0":            "fe80::/64",
		"192.0.2.7:1234":          "unknown",
		"":                        "unknown",
		"pymessage:throttle:user": "unknown",
	} {
		if got := site(address); got != want {
			t.Errorf("%q counts with %q, want %q", address, got, want)
		}
	}
}

// guessToken resumes with a token that nobody has.
func guessToken(t *testing.T, s *server, address string) error {
	t.Helper()
	_, err := s.resume(t.Context(), accountsapi.Token{Token: newToken().text, Address: address})
	return err
}

func TestGuessesAtTokensAreCountedByAddressAndOverall(t *testing.T) {
	t.Parallel()

	cfg := migrate(t, testConfig(t))
	cfg.LoginFailuresPerAddress, cfg.LoginFailuresOverall = 3, 5
	pods := []*server{start(t, cfg), start(t, cfg)}
	register(t, pods[0], "bob", "1234")
	bob := begin(t, pods[0], "bob", "1234")
	for i := range 3 {
		wantFault(t, guessToken(t, pods[i%2], fmt.Sprintf("2001:db8:1:2::%d", i)), fault.Unauthorized)
	}
	for range 10 { // refused for their address, they do not use up what everybody has
		wantFault(t, guessToken(t, pods[1], "2001:db8:1:2:ffff::1"), fault.TooMany)
	}
	_, err := pods[0].resume(t.Context(), accountsapi.Token{Token: bob.Token, Address: "2001:db8:1:2:ffff::1"})
	if fault.KindOf(err) != fault.TooMany || err.Error() != "too many attempts, try again later" {
		t.Errorf("the right token from there got %v", err)
	}
	for range 10 { // which are no failures
		if _, err := resume(t, pods[1], bob.Token); err != nil {
			t.Errorf("the right token from elsewhere got %v", err)
		}
	}
	wantFault(t, guessToken(t, pods[0], "2001:db8:1:3::1"), fault.Unauthorized)
	wantFault(t, guessToken(t, pods[1], "192.0.2.7"), fault.Unauthorized)
	wantFault(t, guessToken(t, pods[0], "192.0.2.8"), fault.TooMany)
	if n := testutil.ToFloat64(pods[1].metrics.resumes.WithLabelValues("too_many")); n != 10 {
		t.Errorf("%v throttled resumes are counted", n)
	}
	// Whose session is over can log in.
	wantFault(t, guess(t, pods[0], "bob", "2001:db8:1:2::1"), fault.Unauthorized)
	if _, err := pods[0].login(t.Context(), newcomer("bob", "1234")); err != nil {
		t.Errorf("a login got %v", err)
	}
}

func TestGuessesAtTokensAtOnceGetNoMoreAnswersThanTheLimit(t *testing.T) {
	t.Parallel()

	cfg := migrate(t, testConfig(t))
	cfg.LoginFailuresPerAddress = 5
	s := start(t, cfg)
	var mu sync.Mutex
	got := map[string]int{}
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			err := guessToken(t, s, home)
			mu.Lock()
			defer mu.Unlock()
			got[service.Outcome(err)]++
		})
	}
	wg.Wait()
	if diff := cmp.Diff(map[string]int{"unauthorized": 5, "too_many": 35}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
