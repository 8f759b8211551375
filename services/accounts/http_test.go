package accounts

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"pymessage/internal/fault"
	"pymessage/internal/service"
	"pymessage/services/accounts/accountsapi"
)

func listen(t *testing.T, h http.Handler) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

func servePublic(t *testing.T, s *server) string {
	t.Helper()
	return listen(t, s.publicHandler(service.MeasureHTTP(prometheus.NewRegistry())))
}

func serveInternal(t *testing.T, s *server, cfg Config) *accountsapi.Client {
	t.Helper()
	url := listen(t, s.internalHandler(string(cfg.InternalSecret), service.MeasureHTTP(prometheus.NewRegistry())))
	c := accountsapi.NewClient(url, string(cfg.InternalSecret))
	t.Cleanup(c.Close)
	return c
}

// answer is what came of a request: status, content type and body.
type answer struct {
	Status int
	Type   string
	Body   string
}

func ask(t *testing.T, method, url string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true // so that no idle connection outlives the test
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header.Get("Content-Type"), strings.TrimSpace(string(body))}
}

func TestGetUserTellsANameOrWhyNot(t *testing.T) {
	t.Parallel()

	s := start(t, migrate(t, testConfig(t)))
	s.store.newID = func() int { return 12345678 }
	register(t, s, "Zoë", "1234")
	url := servePublic(t, s)

	const unknown = `{"error":{"code":"not_found","message":"no user has this id"}}`
	const bad = `{"error":{"code":"invalid","message":"id must be a number of 8 digits"}}`
	for query, want := range map[string]answer{
		"?id=12345678":             {200, "application/json", `{"user":{"username":"Zoë"}}`},
		"?id=12345678&more=1":      {200, "application/json", `{"user":{"username":"Zoë"}}`},
		"?id=12345679":             {404, "application/json", unknown},
		"?id=99999999":             {404, "application/json", unknown},
		"":                         {400, "application/json", bad},
		"?id=":                     {400, "application/json", bad},
		"?id=bob":                  {400, "application/json", bad},
		"?id=1234567":              {400, "application/json", bad},
		"?id=123456789":            {400, "application/json", bad},
		"?id=01234567":             {400, "application/json", bad},
		"?id=-1234567":             {400, "application/json", bad},
		"?id=%2B1234567":           {400, "application/json", bad},
		"?id=12345678.0":           {400, "application/json", bad},
		"?id=12345678%0A":          {400, "application/json", bad},
		"?id=%zz":                  {400, "application/json", bad},
		"?id=12345678&id=12345679": {400, "application/json", bad},
		"?id=99999999999999999999": {400, "application/json", bad},
		"?id=١٢٣٤٥٦٧٨":             {400, "application/json", bad},
	} {
		if diff := cmp.Diff(want, ask(t, http.MethodGet, url+"/get_user"+query)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
}

func TestWhatThePublicPortDoesNotHaveIsSaidInJSON(t *testing.T) {
	t.Parallel()

	url := servePublic(t, start(t, testConfig(t)))
	for _, path := range []string{"/", "/get_user/", "/get_users", accountsapi.PathLogin, accountsapi.PathLookup} {
		want := answer{404, "application/json", `{"error":{"code":"not_found","message":"no such endpoint"}}`}
		if diff := cmp.Diff(want, ask(t, http.MethodPost, url+path)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	want := answer{405, "application/json", `{"error":{"code":"invalid","message":"method not allowed"}}`}
	if diff := cmp.Diff(want, ask(t, http.MethodPost, url+"/get_user")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTheClientGetsEveryAnswerOfTheService(t *testing.T) {
	t.Parallel()

	cfg := migrate(t, testConfig(t))
	cfg.LoginFailuresPerAccount = 1
	c := serveInternal(t, start(t, cfg), cfg)
	bob, err := c.Create(t.Context(), newcomer("Bob", "1234"))
	if err != nil || bob.Username != "Bob" {
		t.Fatalf("created %+v, %v", bob, err)
	}
	_, err = c.Create(t.Context(), newcomer("bob", "1234"))
	wantFault(t, err, fault.Conflict)
	_, err = c.Create(t.Context(), newcomer("b", "1234"))
	wantFault(t, err, fault.Invalid)
	if got, err := c.Login(t.Context(), newcomer("bob", "1234")); err != nil || got != bob || got.Token != "" {
		t.Errorf("logged in as %+v, %v", got, err)
	}
	_, err = c.Login(t.Context(), newcomer("bob", "12345"))
	wantFault(t, err, fault.Unauthorized)
	_, err = c.Login(t.Context(), newcomer("bob", "1234"))
	wantFault(t, err, fault.TooMany)
	got, err := c.Lookup(t.Context(), []int{bob.ID, minID})
	if diff := cmp.Diff([]accountsapi.User{bob.User}, got); diff != "" || err != nil {
		t.Errorf("looked up (-want +got):\n%s%v", diff, err)
	}
}

func TestALookupOfManyIsOneRequest(t *testing.T) {
	t.Parallel()

	cfg := migrate(t, testConfig(t))
	s := start(t, cfg)
	c := serveInternal(t, s, cfg)
	ids := make([]int, accountsapi.MaxLookup)
	for i := range ids {
		ids[i] = minID + i
	}
	fill(t, s, len(ids)/2)
	if got, err := c.Lookup(t.Context(), ids); err != nil || len(got) != len(ids)/2 {
		t.Errorf("found %d, %v", len(got), err)
	}
	_, err := c.Lookup(t.Context(), append(ids, maxID))
	wantFault(t, err, fault.Invalid)
}

// fill adds n accounts with the lowest ids.
func fill(t *testing.T, s *server, n int) {
	t.Helper()
	_, err := s.store.pool.Exec(t.Context(), `
		INSERT INTO users (id, username, username_key, pin_hash)
		SELECT id, 'user' || id, 'user' || id, '' FROM generate_series($1::integer, $2::integer) AS id`, minID, minID+n-1)
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheInternalPortNeedsTheSecret(t *testing.T) {
	t.Parallel()

	cfg := testConfig(t)
	s := start(t, cfg)
	url := listen(t, s.internalHandler(string(cfg.InternalSecret), service.MeasureHTTP(prometheus.NewRegistry())))
	for _, secret := range []string{"", "guessed", string(cfg.InternalSecret) + "x"} {
		c := accountsapi.NewClient(url, secret)
		_, err := c.Login(t.Context(), newcomer("bob", "1234"))
		wantFault(t, err, fault.Forbidden)
		if fmt.Sprint(err) == "acc not found" {
			t.Errorf("secret %q let a login through", secret)
		}
		c.Close()
	}
}
