package accounts

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"pymessage/internal/bell"
	"pymessage/internal/service"
	"pymessage/test/openapi"
)

// rest is a user of the public interface.
type rest struct {
	openapi.Caller
	s   *server
	cfg Config
}

func newRest(t *testing.T, change ...func(*Config)) *rest {
	t.Helper()
	cfg := testConfig(t)
	for _, f := range change {
		f(&cfg)
	}
	s := start(t, migrate(t, cfg))
	return &rest{Caller: openapi.Caller{T: t, Document: openapi.Load(t, document), Base: servePublic(t, s)}, s: s, cfg: cfg}
}

// as is the user of another token.
func (r *rest) as(token string) *rest { return &rest{Caller: r.As(token), s: r.s, cfg: r.cfg} }

func cred(name, pin string) map[string]any { return map[string]any{"username": name, "pin": pin} }

// signUp makes an account and is its user from then on.
func (r *rest) signUp(name string) (*rest, int) {
	r.T.Helper()
	answer := r.Want(201, "POST", "/accounts/v1/users", cred(name, "1234"))
	return r.as(answer["session"].(map[string]any)["token"].(string)), int(answer["user"].(map[string]any)["id"].(float64))
}

func (r *rest) logIn(name, pin string) *rest {
	r.T.Helper()
	answer := r.Want(201, "POST", "/accounts/v1/sessions", cred(name, pin))
	return r.as(answer["session"].(map[string]any)["token"].(string))
}

func (r *rest) sessionIDs() (current string, others []string) {
	r.T.Helper()
	for _, s := range r.Want(200, "GET", "/accounts/v1/sessions", nil)["sessions"].([]any) {
		session := s.(map[string]any)
		if session["current"] == true {
			current = session["id"].(string)
		} else {
			others = append(others, session["id"].(string))
		}
	}
	return current, others
}

// expectEnd waits for the ring of a session that has ended, or of all but one.
func (e ear) expectEnd(t *testing.T, session, except string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	m, err := e.ReceiveMessage(ctx)
	if err != nil {
		t.Fatalf("no ring: %v", err)
	}
	env, err := bell.Decode(m.Payload)
	if diff := cmp.Diff(bell.Envelope{Session: session, Except: except}, env); err != nil || diff != "" {
		t.Errorf("heard %s, %v (-want +got):\n%s", m.Payload, err, diff)
	}
}

func TestTheDocumentTellsOfEveryRoute(t *testing.T) {
	t.Parallel()
	s := start(t, testConfig(t))
	openapi.Load(t, document).CheckRoutes(t, s.publicHandler(service.MeasureHTTP(prometheus.NewRegistry())))
}

func TestTheDocumentIsServedAsItIs(t *testing.T) {
	t.Parallel()
	r := newRest(t)
	if got := ask(t, "GET", r.Base+"/accounts/v1/openapi.json"); got != (answer{200, "application/json", strings.TrimSpace(string(document))}) {
		t.Errorf("got %d %s", got.Status, got.Type)
	}
}

func TestSigningUpMakesAnAccountAndASession(t *testing.T) {
	t.Parallel()
	r := newRest(t)
	alice, id := r.signUp("Alice")
	me := alice.Want(200, "GET", "/accounts/v1/me", nil)
	if me["id"] != float64(id) || me["username"] != "Alice" {
		t.Errorf("I am %v", me)
	}
	r.WantError(409, "conflict", "POST", "/accounts/v1/users", cred("alice", "1234"))
	r.WantError(400, "invalid", "POST", "/accounts/v1/users", cred("al", "1234"))
	r.WantError(400, "invalid", "POST", "/accounts/v1/users", cred("alicia", "123"))
	r.WantError(400, "invalid", "POST", "/accounts/v1/users", []int{1})
	r.WantError(400, "invalid", "POST", "/accounts/v1/users", map[string]any{"username": "bob", "pin": 1234})
	r.WantError(413, "too_large", "POST", "/accounts/v1/users", cred("bob", strings.Repeat("1", 65<<10)))
	r.Want(415, "POST", "/accounts/v1/users", openapi.Raw{Type: "application/x-www-form-urlencoded", Text: `{"username":"bob","pin":"1234"}`})
}

func TestEveryRouteForUsersNeedsATokenThatIsGood(t *testing.T) {
	t.Parallel()
	r := newRest(t)
	alice, id := r.signUp("alice")
	alice.Want(204, "DELETE", "/accounts/v1/sessions", nil)
	for _, route := range [][2]string{
		{"GET", "/accounts/v1/users?id=" + strconv.Itoa(id)}, {"GET", "/accounts/v1/sessions"},
		{"DELETE", "/accounts/v1/sessions"}, {"DELETE", "/accounts/v1/sessions/a"}, {"GET", "/accounts/v1/me"},
		{"PUT", "/accounts/v1/me/pin"}, {"POST", "/accounts/v1/me/deletion"}, {"GET", "/accounts/v1/me/export"},
	} {
		for _, token := range []string{"", "guess", newToken().text, alice.Token} {
			r.as(token).WantError(401, "unauthorized", route[0], route[1], nil)
		}
	}
	r.WantError(401, "unauthorized", "GET", "/accounts/v1/me?token="+r.logIn("alice", "1234").Token, nil)
}

func TestLoginsAreThrottledWhereverTheyComeFrom(t *testing.T) {
	t.Parallel()
	r := newRest(t, func(c *Config) { c.LoginFailuresPerAccount = 2 })
	r.signUp("alice")
	r.logIn("Alice", "1234")
	for range 2 {
		r.WantError(401, "unauthorized", "POST", "/accounts/v1/sessions", cred("alice", "4321"))
	}
	r.WantError(429, "too_many", "POST", "/accounts/v1/sessions", cred("alice", "1234"))
	r.WantError(401, "unauthorized", "POST", "/accounts/v1/sessions", cred("nobody", "1234"))
	r.WantError(400, "invalid", "POST", "/accounts/v1/sessions", "alice")
	r.WantError(413, "too_large", "POST", "/accounts/v1/sessions", cred(strings.Repeat("a", 65<<10), "1234"))
}

func TestGuessedTokensAreThrottledByAddress(t *testing.T) {
	t.Parallel()
	r := newRest(t, func(c *Config) { c.LoginFailuresPerAddress = 2 })
	for range 2 {
		r.as(newToken().text).WantError(401, "unauthorized", "GET", "/accounts/v1/me", nil)
	}
	r.as(newToken().text).WantError(429, "too_many", "GET", "/accounts/v1/me", nil)
}

func TestWithoutItsStoreItIsUnavailable(t *testing.T) {
	t.Parallel()
	r := newRest(t)
	alice, _ := r.signUp("alice")
	r.s.store.pool.Close()
	alice.WantError(503, "unavailable", "GET", "/accounts/v1/me", nil)
	r.WantError(503, "unavailable", "POST", "/accounts/v1/sessions", cred("alice", "1234"))
}

func TestUsersAreFoundByIDAndByName(t *testing.T) {
	t.Parallel()
	r := newRest(t)
	alice, a := r.signUp("Alice")
	_, b := r.signUp("bob")
	find := func(query string) map[int]string {
		found := map[int]string{}
		for _, u := range alice.Want(200, "GET", "/accounts/v1/users?"+query, nil)["users"].([]any) {
			user := u.(map[string]any)
			found[int(user["id"].(float64))] = user["username"].(string)
		}
		return found
	}
	free := minID
	for free == a || free == b {
		free++
	}
	for query, want := range map[string]map[int]string{
		"id=" + strconv.Itoa(b): {b: "bob"},
		"id=" + strconv.Itoa(a) + "&id=" + strconv.Itoa(b) + "&id=" + strconv.Itoa(free): {a: "Alice", b: "bob"},
		"id=" + strconv.Itoa(free): {},
		"username=ALICE":           {a: "Alice"},
		"username=carol":           {},
		"username=a":               {},
	} {
		if diff := cmp.Diff(want, find(query)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
	for _, query := range []string{"", "id=bob", "id=", "username=bob&id=" + strconv.Itoa(a), "username=bob&username=alice",
		strings.Repeat("id=12345678&", 101)} {
		alice.WantError(400, "invalid", "GET", "/accounts/v1/users?"+query, nil)
	}
}

func TestSessionsAreListedAndEnded(t *testing.T) {
	t.Parallel()
	r := newRest(t)
	one, id := r.signUp("alice")
	two, three := r.logIn("alice", "1234"), r.logIn("alice", "1234")
	bob, _ := r.signUp("bob")
	current, others := one.sessionIDs()
	if current == "" || len(others) != 2 {
		t.Fatalf("sessions %s and %v", current, others)
	}
	rings := listenTo(t, r.cfg, id)
	bob.WantError(404, "not_found", "DELETE", "/accounts/v1/sessions/"+others[0], nil)
	one.WantError(404, "not_found", "DELETE", "/accounts/v1/sessions/current", nil)
	ended, _ := two.sessionIDs()
	one.Want(204, "DELETE", "/accounts/v1/sessions/"+ended, nil)
	rings.expectEnd(t, ended, "")
	one.WantError(404, "not_found", "DELETE", "/accounts/v1/sessions/"+ended, nil)
	two.WantError(401, "unauthorized", "GET", "/accounts/v1/me", nil)
	three.Want(204, "DELETE", "/accounts/v1/sessions", nil)
	rings.expectEnd(t, ended, "") // of the one that was asked for again
	rings.expectEnd(t, "*", "")
	for _, gone := range []*rest{one, three} {
		gone.WantError(401, "unauthorized", "GET", "/accounts/v1/me", nil)
	}
	bob.Want(200, "GET", "/accounts/v1/me", nil)
}

func TestAnotherPinEndsTheOtherSessions(t *testing.T) {
	t.Parallel()
	r := newRest(t, func(c *Config) { c.LoginFailuresPerAccount = 3 })
	one, id := r.signUp("alice")
	two := r.logIn("alice", "1234")
	rings := listenTo(t, r.cfg, id)
	pins := func(pin, next string) map[string]any { return map[string]any{"pin": pin, "new_pin": next} }
	one.WantError(403, "forbidden", "PUT", "/accounts/v1/me/pin", pins("4321", "5678"))
	one.WantError(403, "forbidden", "PUT", "/accounts/v1/me/pin", pins("1", "5678"))
	one.WantError(400, "invalid", "PUT", "/accounts/v1/me/pin", pins("1234", "5"))
	two.Want(200, "GET", "/accounts/v1/me", nil)
	one.Want(204, "PUT", "/accounts/v1/me/pin", pins("1234", "5678"))
	current, others := one.sessionIDs()
	if len(others) != 0 {
		t.Errorf("there are still %v", others)
	}
	rings.expectEnd(t, "*", current)
	two.WantError(401, "unauthorized", "GET", "/accounts/v1/me", nil)
	r.WantError(401, "unauthorized", "POST", "/accounts/v1/sessions", cred("alice", "1234"))
	r.logIn("alice", "5678")
	one.WantError(403, "forbidden", "PUT", "/accounts/v1/me/pin", pins("1234", "5678"))
	one.WantError(429, "too_many", "PUT", "/accounts/v1/me/pin", pins("5678", "1234")) // guesses are counted
}

// A login that checked the old pin must not begin a session after the pin was changed.
func TestASessionDoesNotBeginWithAPinThatWasChanged(t *testing.T) {
	t.Parallel()
	r := newRest(t)
	one, id := r.signUp("alice")
	u, _ := checkUsername("alice")
	user, pinHash, err := r.s.authenticate(t.Context(), u, "1234")
	if err != nil || user.ID != id {
		t.Fatal(user, err)
	}
	one.Want(204, "PUT", "/accounts/v1/me/pin", map[string]any{"pin": "1234", "new_pin": "5678"})
	if _, err := r.s.begin(t.Context(), user, pinHash); err != errNobody {
		t.Errorf("it ended with %v", err)
	}
}

func TestTheExportHasAllButWhatProves(t *testing.T) {
	t.Parallel()
	r := newRest(t)
	alice, id := r.signUp("Alice")
	r.logIn("alice", "1234")
	out := alice.Want(200, "GET", "/accounts/v1/me/export", nil)
	profile := out["profile"].(map[string]any)
	if profile["id"] != float64(id) || profile["username"] != "Alice" || len(out["sessions"].([]any)) != 2 {
		t.Errorf("got %v", out)
	}
	text, _ := json.Marshal(out)
	if strings.Contains(string(text), "argon2") || strings.Contains(string(text), alice.Token) {
		t.Errorf("it tells secrets: %s", text)
	}
}

func TestNothingOfUsersIsCached(t *testing.T) {
	t.Parallel()
	r := newRest(t)
	alice, _ := r.signUp("alice")
	req, _ := http.NewRequestWithContext(t.Context(), "GET", r.Base+"/accounts/v1/me", nil)
	req.Header.Set("Authorization", "bearer "+alice.Token)
	resp, err := r.Document.Client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d, Cache-Control %q", resp.StatusCode, resp.Header.Get("Cache-Control"))
	}
}
