package accounts

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"pymessage/internal/fault"
	"pymessage/internal/service"
	"pymessage/internal/testenv"
	"pymessage/services/accounts/accountsapi"
)

func TestWhoCreatedAnAccountLogsInInAnySpelling(t *testing.T) {
	t.Parallel()

	s := start(t, migrate(t, testConfig(t)))
	made := register(t, s, "Zoë", "0042")
	if made.ID < minID || made.ID > maxID || made.Username != "Zoë" {
		t.Fatalf("made %+v", made)
	}
	for _, name := range []string{"Zoë", "zoë", "ZOË", "Zoe\u0308"} {
		got, err := s.login(t.Context(), newcomer(name, "0042"))
		if err != nil || got != withoutSession(made) {
			t.Errorf("%q: got %+v, %v", name, got, err)
		}
	}
}

func TestAWrongPinAndAnUnknownUserGetTheSameAnswer(t *testing.T) {
	t.Parallel()

	s := start(t, migrate(t, testConfig(t)))
	register(t, s, "bob", "0042")
	for why, cred := range map[string]accountsapi.Credentials{
		"wrong pin":           newcomer("bob", "0043"),
		"number for a string": newcomer("bob", "42"),
		"unknown":             newcomer("eve", "0042"),
		"no name":             newcomer("", "0042"),
		"no pin":              newcomer("bob", ""),
		"a bad name":          newcomer("bob\x00", "0042"),
		"a bad pin":           newcomer("bob", "0042\x00"),
	} {
		got, err := s.login(t.Context(), cred)
		if got != (accountsapi.Session{}) || fault.KindOf(err) != fault.Unauthorized || err.Error() != "acc not found" {
			t.Errorf("%s: got %+v, %v", why, got, err)
		}
	}
	if n := testutil.ToFloat64(s.metrics.logins.WithLabelValues("unauthorized")); n != 7 {
		t.Errorf("%v failed logins are counted", n)
	}
}

func TestALoginOfNobodyWaitsForAWorkerLikeAnyOther(t *testing.T) {
	t.Parallel()

	cfg := migrate(t, testConfig(t))
	cfg.Argon2Workers, cfg.Argon2Queue = 1, 0
	s := start(t, cfg)
	leave, err := s.pins.enter(t.Context()) // keeps the only worker
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.login(t.Context(), newcomer("nobody", "1234"))
	wantFault(t, err, fault.Unavailable)
	leave()
	_, err = s.login(t.Context(), newcomer("nobody", "1234"))
	wantFault(t, err, fault.Unauthorized)
}

func TestBadNamesAndPinsMakeNoAccount(t *testing.T) {
	t.Parallel()

	s := start(t, migrate(t, testConfig(t)))
	for _, cred := range []accountsapi.Credentials{
		newcomer("bo", "1234"), newcomer("bob", "123"), newcomer("", ""), newcomer("bob b", "1234"),
		newcomer("bob", "12\x0034"), newcomer("bob\xff", "1234"), newcomer(strings.Repeat("b", 33), "1234"),
	} {
		_, err := s.create(t.Context(), cred)
		wantFault(t, err, fault.Invalid)
	}
}

func TestOneOfTwelveWhoWantANameAtOnceGetsIt(t *testing.T) {
	t.Parallel()

	s := start(t, migrate(t, testConfig(t)))
	const all = 12
	outcomes := make([]string, all)
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			name := []string{"Highlander", "highlander", "HIGHLANDER"}[i%3]
			_, err := s.create(t.Context(), newcomer(name, fmt.Sprintf("pin %d", i)))
			outcomes[i] = service.Outcome(err)
			if err != nil && fault.Message(err) != "username is taken" {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	slices.Sort(outcomes)
	if diff := cmp.Diff(append(slices.Repeat([]string{"conflict"}, all-1), "ok"), outcomes); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

func TestATakenIDIsDrawnAnew(t *testing.T) {
	t.Parallel()

	s := start(t, migrate(t, testConfig(t)))
	ids := []int{10000000, 10000000, 10000000, 99999999}
	s.store.newID = func() int {
		id := ids[0]
		ids = ids[1:]
		return id
	}
	if u := register(t, s, "first", "1234"); u.ID != 10000000 {
		t.Errorf("first got %d", u.ID)
	}
	if u := register(t, s, "second", "1234"); u.ID != 99999999 {
		t.Errorf("second got %d", u.ID)
	}
	s.store.newID = func() int { return 10000000 }
	_, err := s.create(t.Context(), newcomer("third", "1234"))
	wantFault(t, err, fault.Unavailable)
	_, err = s.create(t.Context(), newcomer("first", "1234"))
	if kind := fault.KindOf(err); kind != fault.Conflict && kind != fault.Unavailable {
		t.Errorf("a taken name with a taken id: %v", err)
	}
}

func TestIDsAreRandomNumbersOfEightDigits(t *testing.T) {
	t.Parallel()

	seen := map[int]bool{}
	for range 1000 {
		id := randomID()
		if id < minID || id > maxID {
			t.Fatalf("%d", id)
		}
		seen[id] = true
	}
	if len(seen) < 990 {
		t.Errorf("only %d of 1000 differ", len(seen))
	}
}

func TestALookupFindsThoseWhoExist(t *testing.T) {
	t.Parallel()

	s := start(t, migrate(t, testConfig(t)))
	ann, bob := register(t, s, "ann", "1234"), register(t, s, "bob", "1234")
	ids := []int{bob.ID, ann.ID, bob.ID, 0, -1, minID - 1, maxID + 1, 1 << 40}
	got, err := s.lookup(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(got, func(a, b accountsapi.User) int { return strings.Compare(a.Username, b.Username) })
	if diff := cmp.Diff([]accountsapi.User{ann, bob}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, err := s.lookup(t.Context(), nil); err != nil || got == nil || len(got) != 0 {
		t.Errorf("nobody asked for: %v, %v", got, err)
	}
	_, err = s.lookup(t.Context(), make([]int, accountsapi.MaxLookup+1))
	wantFault(t, err, fault.Invalid)
}

func TestNeitherTheTableNorTheLogHasAPin(t *testing.T) {
	t.Parallel()

	const pin = "a pin that is easy to find"
	cfg := migrate(t, testConfig(t))
	book, log := testenv.NewLogBook()
	s := startLogging(t, cfg, log)
	c := serveInternal(t, s, cfg)
	bob := newcomer("bob", pin)
	for _, ask := range []func() (accountsapi.Session, error){
		func() (accountsapi.Session, error) { return c.Create(t.Context(), bob) },
		func() (accountsapi.Session, error) { return c.Create(t.Context(), bob) },
		func() (accountsapi.Session, error) { return c.Login(t.Context(), bob) },
		func() (accountsapi.Session, error) { return c.Login(t.Context(), newcomer("eve", pin)) },
	} {
		_, _ = ask()
	}
	hash := pinHash(t, s, "bob")
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=32,t=1,p=1$") || strings.Contains(hash, pin) {
		t.Errorf("the table has %q", hash)
	}
	damage(t, s, "bob", "damaged: "+pin)
	_, err := c.Login(t.Context(), bob)
	wantFault(t, err, fault.Internal)
	book.Await(t, "stored pin hash is damaged")
	text := book.String()
	for _, hidden := range []string{pin, string(cfg.PinPepper), string(cfg.InternalSecret)} {
		if strings.Contains(text, hidden) {
			t.Errorf("%q is in the log:\n%s", hidden, text)
		}
	}
}

func pinHash(t *testing.T, s *server, key string) (hash string) {
	t.Helper()
	err := s.store.pool.QueryRow(t.Context(), `SELECT pin_hash FROM users WHERE username_key = $1`, key).Scan(&hash)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

func damage(t *testing.T, s *server, key, hash string) {
	t.Helper()
	_, err := s.store.pool.Exec(t.Context(), `UPDATE users SET pin_hash = $2 WHERE username_key = $1`, key, hash)
	if err != nil {
		t.Fatal(err)
	}
}

func TestMigratingAgainChangesNothing(t *testing.T) {
	t.Parallel()

	cfg := testConfig(t)
	s := start(t, cfg)
	if err := s.store.check(t.Context()); err == nil {
		t.Error("an empty schema passes for a migrated one")
	}
	migrate(t, cfg)
	bob := register(t, s, "bob", "1234")
	migrate(t, cfg)
	if err := s.store.check(t.Context()); err != nil {
		t.Error(err)
	}
	if got, err := s.login(t.Context(), newcomer("bob", "1234")); err != nil || got != withoutSession(bob) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestWithoutPostgresEverythingIsUnavailableUntilItIsBack(t *testing.T) {
	t.Parallel()

	cfg := testConfig(t)
	db := testenv.PostgresServer(t)
	cfg.DatabaseURL = service.Secret(db.URL())
	s := start(t, migrate(t, cfg))
	bob := register(t, s, "bob", "1234")
	if err := db.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range cfg.LoginFailuresPerAccount + 1 { // which are nobody's fault, and do not count as failures
		_, err := s.login(t.Context(), newcomer("bob", "1234"))
		wantFault(t, err, fault.Unavailable)
	}
	_, err := s.create(t.Context(), newcomer("ann", "1234"))
	wantFault(t, err, fault.Unavailable)
	_, err = s.lookup(t.Context(), []int{bob.ID})
	wantFault(t, err, fault.Unavailable)

	if err := db.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := s.login(t.Context(), newcomer("bob", "1234")); err != nil || got != withoutSession(bob) {
		t.Errorf("after the restart: %+v, %v", got, err)
	}
}
