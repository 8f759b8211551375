package e2e

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pymessage/client"
	"pymessage/internal/local"
)

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

func TestEveryServiceHasItsOpsPort(t *testing.T) {
	t.Parallel()
	d := deployment(t)

	for _, s := range d.Services() {
		for path, want := range map[string]string{
			"/livez": "alive", "/readyz": "ready", "/debug/pprof/cmdline": s.Kind,
			"/metrics": "pymessage_build_info",
		} {
			if status, body := get(t, s.OpsURL+path); status != 200 || !strings.Contains(body, want) {
				t.Errorf("%s%s: %d %.100s", s.Name, path, status, body)
			}
		}
	}
}

// TestTheLossOfAStoreUnreadiesNobody: all would turn unready at once, and who could
// still be served would be cut off.
func TestTheLossOfAStoreUnreadiesNobody(t *testing.T) {
	t.Parallel()
	d := ownDeployment(t, local.Options{Durable: true, Env: map[string][]string{"gateway": {"PROBE_INTERVAL=1s"}}})
	one, two := pair(d)
	alice, bob := join(t, one, 1, "alice"), join(t, two, 1, "bob")
	gateway := d.Gateways()[0]

	broken := func() bool { _, body := get(t, gateway.OpsURL+"/readyz"); return strings.Contains(body, `"rings":`) }
	if err := d.Kill(t.Context(), "redis"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the gateway tells that rings do not come through", broken)
	allReady(t, d)
	alice.says(bob.id, "without Redis")
	bob.hears(alice.id, "without Redis")
	if err := d.Kill(t.Context(), "postgres"); err != nil {
		t.Fatal(err)
	}
	_, err := alice.Send(within(t), bob.id, "without Postgres")
	alice.isRefused(err, client.ErrSendFailed) // after SEND_TIMEOUT; meanwhile each probe has failed several times
	allReady(t, d)
	for _, store := range []string{"postgres", "redis"} {
		if err := d.Start(t.Context(), store); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "rings come through again", func() bool { return !broken() })
	alice.says(bob.id, "all is well")
	allReady(t, d)
}

// eventually asks until the answer is yes. What it waits for has no event of its own.
func eventually(t *testing.T, what string, ask func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ask(); {
		if time.Now().After(deadline) {
			t.Fatalf("never came to pass: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func allReady(t *testing.T, d *local.Deployment) {
	t.Helper()
	for _, s := range d.Services() {
		if status, body := get(t, s.OpsURL+"/readyz"); status != http.StatusOK {
			t.Errorf("%s is not ready: %s", s.Name, body)
		}
	}
}

func TestInternalPortsNeedTheSecret(t *testing.T) {
	t.Parallel()
	d := deployment(t)

	for _, s := range d.Services() {
		if s.InternalURL == "" {
			continue
		}
		for _, path := range []string{"/", "/internal/v1/login", "/internal/v1/inbox/read"} {
			resp, err := http.Post(s.InternalURL+path, "application/json", strings.NewReader(`{}`))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusForbidden {
				t.Errorf("%s%s without the secret: status %d", s.Name, path, resp.StatusCode)
			}
			if status, _ := get(t, s.PublicURL+path); status != http.StatusNotFound {
				t.Errorf("%s%s on the public port: status %d", s.Name, path, status)
			}
		}
	}
}

func TestPinsAreHashedAndNeverLogged(t *testing.T) {
	t.Parallel()
	d := deployment(t)
	one, two := pair(d)

	const right, wrong = "9182736450918273", "5647382910564738"
	c := dial(t, one)
	name := uniqueName("secretive")
	c.send(map[string]any{"type": "create_acc", "username": name, "pin": right})
	c.readObject()
	for _, given := range []string{right, wrong} {
		c := dial(t, two)
		c.send(map[string]any{"type": "login", "username": name, "pin": given})
		c.readObject()
	}
	c = dial(t, two)
	c.raw(`{"type":"create_acc","username":"ab","pin":"` + right + `"}`)
	c.expectError("failed to create account")
	var hash string
	query(t, d, `SELECT pin_hash FROM accounts.users WHERE username = $1`, []any{name}, &hash)
	if !strings.HasPrefix(hash, "$argon2id$v=19$") {
		t.Errorf("stored as %.20s", hash)
	}
	for _, s := range d.Services() {
		log, err := os.ReadFile(s.LogFile)
		if err != nil {
			t.Fatal(err)
		}
		if len(log) == 0 || strings.Contains(string(log), right) || strings.Contains(string(log), wrong) {
			t.Errorf("the log of %s is empty or has a pin in it", s.Name)
		}
	}
}

func TestServicesCannotReadEachOthersTables(t *testing.T) {
	t.Parallel()
	d := deployment(t)

	var privileges []bool
	query(t, d, `SELECT ARRAY[
		has_schema_privilege('accounts', 'social', 'USAGE'),
		has_schema_privilege('social', 'accounts', 'USAGE'),
		has_schema_privilege('accounts', 'accounts', 'USAGE'),
		has_schema_privilege('social', 'social', 'USAGE'),
		has_schema_privilege('accounts', 'public', 'CREATE')]`, nil, &privileges)
	if diff := cmp.Diff([]bool{false, false, true, true, false}, privileges); diff != "" {
		t.Error(diff)
	}
}

func TestSettingsThatAreWrongAreAllNamedAtOnce(t *testing.T) {
	t.Parallel()

	out := runBinary(t, 2, []string{"HEARTBEAT=soon", "INTERNAL_SECRET=short"}, "gateway")
	for _, want := range []string{"HEARTBEAT", "ACCOUNTS_URL is required", "SOCIAL_URL is required", "REDIS_URL is required", "INTERNAL_SECRET must have"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not named in\n%s", want, out)
		}
	}
	for _, service := range []string{"gateway", "accounts", "social"} {
		if out := runBinary(t, 0, nil, service, "version"); !strings.HasPrefix(out, service+" ") {
			t.Errorf("version of %s: %s", service, out)
		}
	}
}

func binary(name string) string { return filepath.Join(folder, "bin", name) }

// runBinary runs a service's binary to its end, in an environment of its own.
func runBinary(t *testing.T, status int, environ []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary(name), args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, environ...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != status {
		t.Errorf("%s %v ended with %v, want status %d:\n%s", name, args, err, status, out)
	}
	return string(out)
}
