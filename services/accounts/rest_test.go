package accounts

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
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

// rest is a client of the public interface, held to the document.
type rest struct {
	t     *testing.T
	s     *server
	cfg   Config
	http  *http.Client
	base  string
	token string // none: empty
}

func newRest(t *testing.T, change ...func(*Config)) *rest {
	t.Helper()
	cfg := testConfig(t)
	for _, f := range change {
		f(&cfg)
	}
	s := start(t, migrate(t, cfg))
	return &rest{t: t, s: s, cfg: cfg, http: openapi.Load(t, document).Client(t), base: servePublic(t, s)}
}

// as is the same client with another token.
func (r *rest) as(token string) *rest {
	other := *r
	other.token = token
	return &other
}

// do sends a request with body as JSON, if it is not nil, and decodes the answer.
func (r *rest) do(method, path string, body any) (status int, answer map[string]any) {
	r.t.Helper()
	var in io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			r.t.Fatal(err)
		}
		in = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.base+path, in)
	if err != nil {
		r.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	return r.send(req)
}

func (r *rest) send(req *http.Request) (status int, answer map[string]any) {
	r.t.Helper()
	resp, err := r.http.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &answer); err != nil {
			r.t.Fatalf("%s: %v", text, err)
		}
	}
	return resp.StatusCode, answer
}

// want sends a request that must be answered with this status.
func (r *rest) want(status int, method, path string, body any) map[string]any {
	r.t.Helper()
	got, answer := r.do(method, path, body)
	if got != status {
		r.t.Fatalf("%s %s: %d %v, want %d", method, path, got, answer, status)
	}
	return answer
}

// wantError sends a request that must fail like this.
func (r *rest) wantError(status int, code, method, path string, body any) {
	r.t.Helper()
	answer := r.want(status, method, path, body)
	if got := answer["error"].(map[string]any)["code"]; got != code {
		r.t.Errorf("%s %s: error %v, want %s", method, path, answer, code)
	}
}

func cred(name, pin string) map[string]any { return map[string]any{"username": name, "pin": pin} }

// signUp makes an account and is its user from then on.
func (r *rest) signUp(name string) (*rest, int) {
	r.t.Helper()
	answer := r.want(201, "POST", "/accounts/v1/users", cred(name, "1234"))
	return r.as(answer["session"].(map[string]any)["token"].(string)), int(answer["user"].(map[string]any)["id"].(float64))
}

func (r *rest) logIn(name, pin string) *rest {
	r.t.Helper()
	answer := r.want(201, "POST", "/accounts/v1/sessions", cred(name, pin))
	return r.as(answer["session"].(map[string]any)["token"].(string))
}

func (r *rest) sessionIDs() (current string, others []string) {
	r.t.Helper()
	for _, s := range r.want(200, "GET", "/accounts/v1/sessions", nil)["sessions"].([]any) {
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
	if got := ask(t, "GET", r.base+"/accounts/v1/openapi.json"); got != (answer{200, "application/json", strings.TrimSpace(string(document))}) {
		t.Errorf("got %d %s", got.Status, got.Type)
	}
}

func TestSigningUpMakesAnAccountAndASession(t *testing.T) {
	t.Parallel()
	r := newRest(t)
	alice, id := r.signUp("Alice")
	me := alice.want(200, "GET", "/accounts/v1/me", nil)
	if me["id"] != float64(id) || me["username"] != "Alice" {
		t.Errorf("I am %v", me)
	}
	r.wantError(409, "conflict", "POST", "/accounts/v1/users", cred("alice", "1234"))
	r.wantError(400, "invalid", "POST", "/accounts/v1/users", cred("al", "1234"))
	r.wantError(400, "invalid", "POST", "/accounts/v1/users", cred("alicia", "123"))
	r.wantError(400, "invalid", "POST", "/accounts/v1/users", []int{1})
	r.wantError(400, "invalid", "POST", "/accounts/v1/users", map[string]any{"username": "bob", "pin": 1234})
	r.wantError(413, "too_large", "POST", "/accounts/v1/users", cred("bob", strings.Repeat("1", 65<<10)))
	req, _ := http.NewRequestWithContext(t.Context(), "POST", r.base+"/accounts/v1/users", strings.NewReader(`{"username":"bob","pin":"1234"}`))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if status, answer := r.send(req); status != 415 {
		t.Errorf("a form: %d %v", status, answer)
	}
}

func TestEveryRouteForUsersNeedsATokenThatIsGood(t *testing.T) {
	t.Parallel()
	r := newRest(t)
	alice, id := r.signUp("alice")
	alice.want(204, "DELETE", "/accounts/v1/sessions", nil)
	for _, route := range [][2]string{
		{"GET", "/accounts/v1/users?id=" + strconv.Itoa(id)}, {"GET", "/accounts/v1/sessions"},
		{"DELETE", "/accounts/v1/sessions"}, {"DELETE", "/accounts/v1/sessions/a"}, {"GET", "/accounts/v1/me"},
		{"PUT", "/accounts/v1/me/pin"}, {"POST", "/accounts/v1/me/deletion"}, {"GET", "/accounts/v1/me/export"},
	} {
		for _, token := range []string{"", "guess", newToken().text, alice.token} {
			r.as(token).wantError(401, "unauthorized", route[0], route[1], nil)
		}
	}
	req, _ := http.NewRequestWithContext(t.Context(), "GET", r.base+"/accounts/v1/me?token="+r.logIn("alice", "1234").token, nil)
	if status, _ := r.send(req); status != 401 {
		t.Errorf("a token in the URL: %d", status)
	}
}

func TestLoginsAreThrottledWhereverTheyComeFrom(t *testing.T) {
	t.Parallel()
	r := newRest(t, func(c *Config) { c.LoginFailuresPerAccount = 2 })
	r.signUp("alice")
	r.logIn("Alice", "1234")
	for range 2 {
		r.wantError(401, "unauthorized", "POST", "/accounts/v1/sessions", cred("alice", "4321"))
	}
	r.wantError(429, "too_many", "POST", "/accounts/v1/sessions", cred("alice", "1234"))
	r.wantError(401, "unauthorized", "POST", "/accounts/v1/sessions", cred("nobody", "1234"))
	r.wantError(400, "invalid", "POST", "/accounts/v1/sessions", "alice")
	r.wantError(413, "too_large", "POST", "/accounts/v1/sessions", cred(strings.Repeat("a", 65<<10), "1234"))
}

func TestGuessedTokensAreThrottledByAddress(t *testing.T) {
	t.Parallel()
	r := newRest(t, func(c *Config) { c.LoginFailuresPerAddress = 2 })
	for range 2 {
		r.as(newToken().text).wantError(401, "unauthorized", "GET", "/accounts/v1/me", nil)
	}
	r.as(newToken().text).wantError(429, "too_many", "GET", "/accounts/v1/me", nil)
}

func TestWithoutItsStoreItIsUnavailable(t *testing.T) {
	t.Parallel()
	r := newRest(t)
	alice, _ := r.signUp("alice")
	r.s.store.pool.Close()
	alice.wantError(503, "unavailable", "GET", "/accounts/v1/me", nil)
	r.wantError(503, "unavailable", "POST", "/accounts/v1/sessions", cred("alice", "1234"))
}

func TestUsersAreFoundByIDAndByName(t *testing.T) {
	t.Parallel()
	r := newRest(t)
	alice, a := r.signUp("Alice")
	_, b := r.signUp("bob")
	find := func(query string) map[int]string {
		found := map[int]string{}
		for _, u := range alice.want(200, "GET", "/accounts/v1/users?"+query, nil)["users"].([]any) {
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
		alice.wantError(400, "invalid", "GET", "/accounts/v1/users?"+query, nil)
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
	bob.wantError(404, "not_found", "DELETE", "/accounts/v1/sessions/"+others[0], nil)
	one.wantError(404, "not_found", "DELETE", "/accounts/v1/sessions/current", nil)
	ended, _ := two.sessionIDs()
	one.want(204, "DELETE", "/accounts/v1/sessions/"+ended, nil)
	rings.expectEnd(t, ended, "")
	one.wantError(404, "not_found", "DELETE", "/accounts/v1/sessions/"+ended, nil)
	two.wantError(401, "unauthorized", "GET", "/accounts/v1/me", nil)
	three.want(204, "DELETE", "/accounts/v1/sessions", nil)
	rings.expectEnd(t, ended, "") // of the one that was asked for again
	rings.expectEnd(t, "*", "")
	for _, gone := range []*rest{one, three} {
		gone.wantError(401, "unauthorized", "GET", "/accounts/v1/me", nil)
	}
	bob.want(200, "GET", "/accounts/v1/me", nil)
}

func TestAnotherPinEndsTheOtherSessions(t *testing.T) {
	t.Parallel()
	r := newRest(t, func(c *Config) { c.LoginFailuresPerAccount = 3 })
	one, id := r.signUp("alice")
	two := r.logIn("alice", "1234")
	rings := listenTo(t, r.cfg, id)
	pins := func(pin, next string) map[string]any { return map[string]any{"pin": pin, "new_pin": next} }
	one.wantError(403, "forbidden", "PUT", "/accounts/v1/me/pin", pins("4321", "5678"))
	one.wantError(403, "forbidden", "PUT", "/accounts/v1/me/pin", pins("1", "5678"))
	one.wantError(400, "invalid", "PUT", "/accounts/v1/me/pin", pins("1234", "5"))
	two.want(200, "GET", "/accounts/v1/me", nil)
	one.want(204, "PUT", "/accounts/v1/me/pin", pins("1234", "5678"))
	current, others := one.sessionIDs()
	if len(others) != 0 {
		t.Errorf("there are still %v", others)
	}
	rings.expectEnd(t, "*", current)
	two.wantError(401, "unauthorized", "GET", "/accounts/v1/me", nil)
	r.wantError(401, "unauthorized", "POST", "/accounts/v1/sessions", cred("alice", "1234"))
	r.logIn("alice", "5678")
	one.wantError(403, "forbidden", "PUT", "/accounts/v1/me/pin", pins("1234", "5678"))
	one.wantError(429, "too_many", "PUT", "/accounts/v1/me/pin", pins("5678", "1234")) // guesses are counted
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
	one.want(204, "PUT", "/accounts/v1/me/pin", map[string]any{"pin": "1234", "new_pin": "5678"})
	if _, err := r.s.begin(t.Context(), user, pinHash); err != errNobody {
		t.Errorf("it ended with %v", err)
	}
}

func TestTheExportHasAllButWhatProves(t *testing.T) {
	t.Parallel()
	r := newRest(t)
	alice, id := r.signUp("Alice")
	r.logIn("alice", "1234")
	out := alice.want(200, "GET", "/accounts/v1/me/export", nil)
	profile := out["profile"].(map[string]any)
	if profile["id"] != float64(id) || profile["username"] != "Alice" || len(out["sessions"].([]any)) != 2 {
		t.Errorf("got %v", out)
	}
	text, _ := json.Marshal(out)
	if strings.Contains(string(text), "argon2") || strings.Contains(string(text), alice.token) {
		t.Errorf("it tells secrets: %s", text)
	}
}

func TestNothingOfUsersIsCached(t *testing.T) {
	t.Parallel()
	r := newRest(t)
	alice, _ := r.signUp("alice")
	req, _ := http.NewRequestWithContext(t.Context(), "GET", r.base+"/accounts/v1/me", nil)
	req.Header.Set("Authorization", "bearer "+alice.token)
	resp, err := r.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d, Cache-Control %q", resp.StatusCode, resp.Header.Get("Cache-Control"))
	}
}
