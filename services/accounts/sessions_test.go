package accounts

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"pymessage/internal/fault"
	"pymessage/internal/service"
	"pymessage/internal/testenv"
	"pymessage/services/accounts/accountsapi"
)

// begin logs in with a session, which must succeed.
func begin(t *testing.T, s *server, name, pin string) accountsapi.Session {
	t.Helper()
	got, err := s.login(t.Context(), wantingSession(newcomer(name, pin)))
	if err != nil || got.Token == "" {
		t.Fatalf("logging in %s: %+v, %v", name, got, err)
	}
	return got
}

func wantingSession(cred accountsapi.Credentials) accountsapi.Credentials {
	cred.Session = true
	return cred
}

// resume resumes from home.
func resume(t *testing.T, s *server, token string) (accountsapi.Session, error) {
	t.Helper()
	return s.resume(t.Context(), accountsapi.Token{Token: token, Address: home})
}

// wantOver fails the test unless the token resumes nothing.
func wantOver(t *testing.T, s *server, token string) {
	t.Helper()
	got, err := resume(t, s, token)
	if got != (accountsapi.Session{}) || fault.KindOf(err) != fault.Unauthorized || err.Error() != "session is over" {
		t.Errorf("resumed %+v, %v", got, err)
	}
}

// end ends a session, which must succeed.
func end(t *testing.T, s *server, user int, session string) {
	t.Helper()
	if err := s.end(t.Context(), accountsapi.EndRequest{User: user, Session: session}); err != nil {
		t.Fatal(err)
	}
}

// execute changes the tables behind the server's back.
func execute(t *testing.T, s *server, statement string, args ...any) {
	t.Helper()
	if _, err := s.store.pool.Exec(t.Context(), statement, args...); err != nil {
		t.Fatal(err)
	}
}

// names are those of all sessions in the table.
func names(t *testing.T, s *server) (out []string) {
	t.Helper()
	err := s.store.pool.QueryRow(t.Context(), `SELECT coalesce(array_agg(id::text), '{}') FROM sessions`).Scan(&out)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func wantNames(t *testing.T, s *server, want ...string) {
	t.Helper()
	got := names(t, s)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the sessions are %q, want %q", got, want)
	}
}

func wantEnded(t *testing.T, s *server, why ending, n float64) {
	t.Helper()
	if got := testutil.ToFloat64(s.metrics.sessionsEnded.WithLabelValues(string(why))); got != n {
		t.Errorf("%v sessions ended by %s are counted, want %v", got, why, n)
	}
}

func TestASessionIsResumedAsOftenAsNeededUntilItEnds(t *testing.T) {
	t.Parallel()

	s := start(t, migrate(t, testConfig(t)))
	bob := register(t, s, "Bob", "1234")
	for _, in := range []func() (accountsapi.Session, error){
		func() (accountsapi.Session, error) {
			return s.login(t.Context(), wantingSession(newcomer("bob", "1234")))
		},
		func() (accountsapi.Session, error) {
			return s.create(t.Context(), wantingSession(newcomer("Ann", "1234")))
		},
	} {
		before := time.Now()
		made, err := in()
		if err != nil || made.Token == "" || !isSession(made.Session) {
			t.Fatalf("began %+v, %v", made, err)
		}
		if left := time.UnixMilli(made.ExpiresAt).Sub(before); left < 59*time.Minute || left > 61*time.Minute {
			t.Errorf("it lasts %v", left)
		}
		want := made
		want.Token = "" // given once
		for range 3 {
			if got, err := resume(t, s, made.Token); err != nil || got != want {
				t.Errorf("resumed %+v, %v; want %+v", got, err, want)
			}
		}
		end(t, s, made.ID, made.Session)
		wantOver(t, s, made.Token)
	}
	if got := begin(t, s, "bob", "1234"); got.User != bob {
		t.Errorf("logged in as %+v", got)
	}
	if n := testutil.ToFloat64(s.metrics.sessionsBegun); n != 3 {
		t.Errorf("%v sessions are counted", n)
	}
	wantEnded(t, s, endedByLogout, 2)
	for outcome, n := range map[string]float64{"ok": 6, "unauthorized": 2} {
		if got := testutil.ToFloat64(s.metrics.resumes.WithLabelValues(outcome)); got != n {
			t.Errorf("%v resumes are %s, want %v", got, outcome, n)
		}
	}
}

func TestALoginThatAsksForNoSessionIsAnsweredAsEver(t *testing.T) {
	t.Parallel()

	s := start(t, migrate(t, testConfig(t)))
	s.store.newID = func() int { return 12345678 }
	made, err := s.create(t.Context(), newcomer("Bob", "1234"))
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.login(t.Context(), newcomer("bob", "1234"))
	if err != nil {
		t.Fatal(err)
	}
	for _, answer := range []accountsapi.Session{made, in} {
		if text, err := json.Marshal(answer); err != nil || string(text) != `{"id":12345678,"username":"Bob"}` {
			t.Errorf("got %s, %v", text, err)
		}
	}
	wantNames(t, s)
	if n := testutil.ToFloat64(s.metrics.sessionsBegun); n != 0 {
		t.Errorf("%v sessions are counted", n)
	}
}

func TestWhoHasNotProvedWhoItIsBeginsNoSession(t *testing.T) {
	t.Parallel()

	s := start(t, migrate(t, testConfig(t)))
	register(t, s, "bob", "1234")
	_, err := s.login(t.Context(), wantingSession(newcomer("bob", "4321")))
	wantFault(t, err, fault.Unauthorized)
	_, err = s.create(t.Context(), wantingSession(newcomer("bob", "1234")))
	wantFault(t, err, fault.Conflict)
	wantNames(t, s)
}

func TestAnAccountAndItsSessionAreMadeTogetherOrNotAtAll(t *testing.T) {
	t.Parallel()

	s := start(t, migrate(t, testConfig(t)))
	execute(t, s, `ALTER TABLE sessions ADD CONSTRAINT none CHECK (user_id = 0)`)
	_, err := s.create(t.Context(), wantingSession(newcomer("bob", "1234")))
	wantFault(t, err, fault.Internal)
	execute(t, s, `ALTER TABLE sessions DROP CONSTRAINT none`)
	made, err := s.create(t.Context(), wantingSession(newcomer("bob", "1234")))
	if err != nil {
		t.Fatalf("the name is not free: %v", err)
	}
	wantNames(t, s, made.Session)

	ids := []int{made.ID, made.ID, 99999999} // an id that is taken is no reason to fail
	s.store.newID = func() int {
		id := ids[0]
		ids = ids[1:]
		return id
	}
	ann, err := s.create(t.Context(), wantingSession(newcomer("ann", "1234")))
	if err != nil || ann.ID != 99999999 {
		t.Fatalf("created %+v, %v", ann, err)
	}
	wantNames(t, s, made.Session, ann.Session)
}

func TestWhatIsNotTheTokenOfASessionResumesNothing(t *testing.T) {
	t.Parallel()

	s := start(t, migrate(t, testConfig(t)))
	register(t, s, "bob", "1234")
	bob := begin(t, s, "bob", "1234")
	for _, token := range []string{newToken().text, strings.ToLower(bob.Token), bob.Session} {
		wantOver(t, s, token)
	}
	execute(t, s, `UPDATE sessions SET expires_at = now()`)
	wantOver(t, s, bob.Token)
	execute(t, s, `UPDATE sessions SET expires_at = now() + interval '1 minute'`)
	if _, err := resume(t, s, bob.Token); err != nil {
		t.Error(err)
	}
}

func TestAMalformedTokenIsRefusedWithoutAskingAnybody(t *testing.T) {
	t.Parallel()

	cfg := testConfig(t) // without a schema: whoever asks fails
	cfg.LoginFailuresPerAddress = 1
	s := start(t, cfg)
	for _, token := range malformed {
		wantOver(t, s, token)
	}
	_, err := resume(t, s, newToken().text)
	wantFault(t, err, fault.Internal)
	if keys, err := s.throttle.rdb.Keys(t.Context(), cfg.RedisPrefix+"*").Result(); err != nil || len(keys) != 0 {
		t.Errorf("counted in %q, %v", keys, err)
	}
}

func TestFiftyResumesAtOnceNeedNoPlaceAmongTheLogins(t *testing.T) {
	t.Parallel()

	cfg := migrate(t, testConfig(t))
	cfg.Argon2Workers, cfg.Argon2Queue = 1, 0
	cfg.LoginFailuresPerAddress, cfg.LoginFailuresOverall = 2, 2 // which resumes under way are not
	s := start(t, cfg)
	register(t, s, "bob", "1234")
	bob := begin(t, s, "bob", "1234")
	leave, err := s.pins.enter(t.Context()) // keeps the only worker
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if got, err := resume(t, s, bob.Token); err != nil || got.User != bob.User || got.Session != bob.Session {
				t.Errorf("resumed %+v, %v", got, err)
			}
		})
	}
	wg.Wait()
}

func TestAnEndIsOfOneSessionAndMayBeRepeated(t *testing.T) {
	t.Parallel()

	s := start(t, migrate(t, testConfig(t)))
	register(t, s, "bob", "1234")
	ann := register(t, s, "ann", "1234")
	phone, laptop := begin(t, s, "bob", "1234"), begin(t, s, "bob", "1234")
	end(t, s, ann.ID, phone.Session) // it is not ann's
	wantNames(t, s, phone.Session, laptop.Session)
	for range 3 {
		end(t, s, phone.ID, phone.Session)
		wantOver(t, s, phone.Token)
	}
	if _, err := resume(t, s, laptop.Token); err != nil {
		t.Errorf("the other session: %v", err)
	}
	wantEnded(t, s, endedByLogout, 1)
	for _, bad := range []accountsapi.EndRequest{
		{}, {User: phone.ID}, {User: phone.ID, Session: "x"}, {User: phone.ID, Session: phone.Token},
		{User: phone.ID, Session: strings.ToUpper(phone.Session)}, {User: phone.ID, Session: "{" + phone.Session + "}"},
		{Session: phone.Session}, {User: 1 << 40, Session: phone.Session},
	} {
		wantFault(t, s.end(t.Context(), bad), fault.Invalid)
	}
}

func TestEndedNamesTheSessionsThatAreOver(t *testing.T) {
	t.Parallel()

	cfg := migrate(t, testConfig(t))
	s := start(t, cfg)
	c := serveInternal(t, s, cfg)
	register(t, s, "bob", "1234")
	open, revoked, old := begin(t, s, "bob", "1234"), begin(t, s, "bob", "1234"), begin(t, s, "bob", "1234")
	if err := c.End(t.Context(), accountsapi.EndRequest{User: revoked.ID, Session: revoked.Session}); err != nil {
		t.Fatal(err)
	}
	execute(t, s, `UPDATE sessions SET expires_at = now() WHERE id = $1::uuid`, old.Session)
	never := uuid.NewString()
	asked := []string{open.Session, revoked.Session, old.Session, never, "no name", strings.ToUpper(open.Session)}
	out, err := c.Ended(t.Context(), accountsapi.EndedRequest{Sessions: asked})
	got := slices.Sorted(slices.Values(out.Ended))
	want := slices.Sorted(slices.Values([]string{revoked.Session, old.Session, never, "no name", strings.ToUpper(open.Session)}))
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("(-want +got):\n%s%v", diff, err)
	}
	for _, asked := range [][]string{nil, {open.Session}} {
		if got, err := s.ended(t.Context(), asked); err != nil || got == nil || len(got) != 0 {
			t.Errorf("%q: %v, %v", asked, got, err)
		}
	}
}

func TestTenThousandSessionsAreCheckedInOneRequest(t *testing.T) {
	t.Parallel()

	cfg := migrate(t, testConfig(t))
	s := start(t, cfg)
	c := serveInternal(t, s, cfg)
	register(t, s, "bob", "1234")
	bob := begin(t, s, "bob", "1234")
	asked := []string{bob.Session}
	for len(asked) < accountsapi.MaxSessions {
		asked = append(asked, uuid.NewString())
	}
	out, err := c.Ended(t.Context(), accountsapi.EndedRequest{Sessions: asked})
	if err != nil || len(out.Ended) != len(asked)-1 || slices.Contains(out.Ended, bob.Session) {
		t.Errorf("%d have ended, %v", len(out.Ended), err)
	}
	_, err = c.Ended(t.Context(), accountsapi.EndedRequest{Sessions: append(asked, bob.Session)})
	wantFault(t, err, fault.Invalid)
}

func TestTenThousandUsersAreCheckedInOneRequest(t *testing.T) {
	t.Parallel()

	cfg := migrate(t, testConfig(t))
	s := start(t, cfg)
	c := serveInternal(t, s, cfg)
	asked := []int{maxID + 1}
	for len(asked) < accountsapi.MaxSessions {
		asked = append(asked, minID+len(asked))
	}
	fill(t, s, len(asked)-1) // all but the first and the last
	out, err := c.Ended(t.Context(), accountsapi.EndedRequest{Users: asked})
	if diff := cmp.Diff([]int{maxID + 1, minID + len(asked) - 1}, out.Gone); diff != "" || err != nil || len(out.Ended) != 0 {
		t.Errorf("(-want +got):\n%s%v", diff, err)
	}
	_, err = c.Ended(t.Context(), accountsapi.EndedRequest{Users: append(asked, minID)})
	wantFault(t, err, fault.Invalid)
}

func TestSessionsThatHaveRunOutAreDeletedInBatches(t *testing.T) {
	t.Parallel()

	s := start(t, migrate(t, testConfig(t)))
	register(t, s, "bob", "1234")
	for range 5 {
		begin(t, s, "bob", "1234")
	}
	execute(t, s, `UPDATE sessions SET expires_at = now()`)
	bob := begin(t, s, "bob", "1234")
	if n, err := s.store.pruneSessions(t.Context(), 2); n != 2 || err != nil {
		t.Errorf("a batch of two had %d, %v", n, err)
	}
	if err := s.pruneOver(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	wantNames(t, s, bob.Session)
	wantEnded(t, s, endedByAge, 3) // beside the two of the batch above
}

func TestOneSessionTooManyEndsTheOldest(t *testing.T) {
	t.Parallel()

	cfg := migrate(t, testConfig(t))
	cfg.MaxSessionsPerAccount = 3
	s := start(t, cfg)
	register(t, s, "ann", "1234")
	register(t, s, "bob", "1234")
	ann := begin(t, s, "ann", "1234")
	var bob []accountsapi.Session
	for range 5 {
		bob = append(bob, begin(t, s, "bob", "1234"))
	}
	wantNames(t, s, ann.Session, bob[2].Session, bob[3].Session, bob[4].Session)
	wantOver(t, s, bob[1].Token)
	wantEnded(t, s, endedByLimit, 2)

	// One that has run out makes room before one that has not.
	execute(t, s, `UPDATE sessions SET expires_at = now() WHERE id = $1::uuid`, bob[4].Session)
	bob = append(bob, begin(t, s, "bob", "1234"))
	wantNames(t, s, ann.Session, bob[2].Session, bob[3].Session, bob[5].Session)

	// The new one stays also when the clock was set back.
	execute(t, s, `UPDATE sessions SET created_at = now() + interval '1 hour'`)
	bob = append(bob, begin(t, s, "bob", "1234"))
	if got := names(t, s); len(got) != 4 || !slices.Contains(got, bob[6].Session) {
		t.Errorf("the new one is not among %q", got)
	}
}

func TestSessionsThatBeginAtOnceKeepTheLimit(t *testing.T) {
	t.Parallel()

	cfg := migrate(t, testConfig(t))
	cfg.MaxSessionsPerAccount, cfg.LoginFailuresPerAccount = 2, 100
	s := start(t, cfg)
	register(t, s, "bob", "1234")
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			if _, err := s.login(t.Context(), wantingSession(newcomer("bob", "1234"))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := names(t, s); len(got) != 2 {
		t.Errorf("the sessions are %q", got)
	}
	wantEnded(t, s, endedByLimit, 10)
}

func TestNeitherTheTableNorTheLogHasAToken(t *testing.T) {
	t.Parallel()

	cfg := migrate(t, testConfig(t))
	book, log := testenv.NewLogBook()
	s := startLogging(t, cfg, log)
	c := serveInternal(t, s, cfg)
	bob, err := c.Create(t.Context(), wantingSession(newcomer("bob", "1234")))
	if err != nil {
		t.Fatal(err)
	}
	ask := func() error {
		_, err := c.Resume(t.Context(), accountsapi.Token{Token: bob.Token, Address: home})
		return err
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	end(t, s, bob.ID, bob.Session)
	wantFault(t, ask(), fault.Unauthorized)
	execute(t, s, `ALTER TABLE sessions RENAME TO elsewhere`)
	wantFault(t, ask(), fault.Internal)
	_, err = c.Login(t.Context(), wantingSession(newcomer("bob", "1234")))
	wantFault(t, err, fault.Internal)
	execute(t, s, `ALTER TABLE elsewhere RENAME TO sessions`)
	execute(t, s, `ALTER TABLE sessions ADD CONSTRAINT none CHECK (user_id = 0)`)
	_, err = c.Login(t.Context(), wantingSession(newcomer("bob", "1234"))) // Postgres tells the whole row
	wantFault(t, err, fault.Internal)
	execute(t, s, `ALTER TABLE sessions DROP CONSTRAINT none`)
	begin(t, s, "bob", "1234")

	hash, _ := hashToken(bob.Token)
	text := book.String()
	var rows string
	if err := s.store.pool.QueryRow(t.Context(), `SELECT string_agg(sessions::text, ' ') FROM sessions`).Scan(&rows); err != nil {
		t.Fatal(err)
	}
	if strings.Count(text, "request failed") != 3 || rows == "" {
		t.Errorf("log:\n%s\ntable: %s", text, rows)
	}
	for _, hidden := range []string{bob.Token, fmt.Sprintf("%x", hash), `\\x`} {
		if strings.Contains(text, hidden) {
			t.Errorf("%q is in the log:\n%s", hidden, text)
		}
	}
	if strings.Contains(rows, bob.Token) {
		t.Errorf("the table has the token: %s", rows)
	}
}

func TestWithoutPostgresSessionsAreUnavailableNotOver(t *testing.T) {
	t.Parallel()

	cfg := testConfig(t)
	db := testenv.PostgresServer(t)
	cfg.DatabaseURL = service.Secret(db.URL())
	cfg.LoginFailuresPerAddress = 1
	s := start(t, migrate(t, cfg))
	register(t, s, "bob", "1234")
	bob := begin(t, s, "bob", "1234")
	if err := db.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 { // which are nobody's fault, and do not count as failures
		_, err := resume(t, s, bob.Token)
		wantFault(t, err, fault.Unavailable)
	}
	wantFault(t, s.end(t.Context(), accountsapi.EndRequest{User: bob.ID, Session: bob.Session}), fault.Unavailable)
	_, err := s.ended(t.Context(), []string{bob.Session})
	wantFault(t, err, fault.Unavailable)
	wantFault(t, s.pruneOver(t.Context(), pruneBatch), fault.Unavailable)

	if err := db.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := resume(t, s, bob.Token); err != nil || got.Session != bob.Session {
		t.Errorf("after the restart: %+v, %v", got, err)
	}
}
