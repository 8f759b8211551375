// Package conformance checks protocol version 1 in clients that are not ours: in
// Python with Debian's python3-websockets (v1.py) and in Node with ws (v1.mjs). Both
// play the same scenarios, which are in checks/, with the frames of cases.json. run.sh
// does so against servers that run already, this test against a deployment of its own.
package conformance

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pymessage/internal/local"
)

const (
	python = "/usr/bin/python3" // Debian's own, which has Debian's modules

	// startTimeout bounds the start of a deployment, and stopTimeout its end.
	startTimeout = 2 * time.Minute
	stopTimeout  = time.Minute
	// runTimeout bounds a run of one client: some seconds, on a busy machine more.
	runTimeout = 3 * time.Minute
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestVersion1WorksWithClientsWrittenByOthers(t *testing.T) {
	t.Parallel()
	needClients(t)
	d := start(t)
	door, one, two := d.URL(), d.Gateways()[0].PublicURL, d.Gateways()[1].PublicURL
	for _, route := range []struct{ name, entry, peer string }{
		{"at the front door", door, door},
		{"at gateway 1 with the others at 2", one, two},
		{"at gateway 2 with the others at 1", two, one},
	} {
		for _, client := range []struct{ name, interpreter, script string }{
			{"Python", python, "v1.py"},
			{"Node", "node", "v1.mjs"},
		} {
			t.Run(client.name+" "+route.name, func(t *testing.T) {
				t.Parallel()
				run(t, client.interpreter, client.script, "--throttling", "--http", door, route.entry, route.peer)
			})
		}
	}
}

// run runs a client, which says all that there is to say.
func run(t *testing.T, command string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), runTimeout)
	defer cancel()
	if out, err := exec.CommandContext(ctx, command, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", command, args, err, out)
	}
}

// needClients fails where the clients cannot run, and says what to do about it.
func needClients(t *testing.T) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), python, "-c", "import websockets").CombinedOutput(); err != nil {
		t.Fatalf("%s cannot import websockets: apt-get install python3-websockets\n%s", python, out)
	}
	if _, err := exec.LookPath("node"); err != nil {
		t.Fatalf("Node is missing, version 20 or later: %v", err)
	}
	if _, err := os.Stat(filepath.Join("node_modules", "ws")); err == nil {
		return
	}
	npm := exec.CommandContext(t.Context(), "npm", "ci", "--prefer-offline", "--no-audit", "--no-fund")
	if out, err := npm.CombinedOutput(); err != nil {
		t.Fatalf("the npm package ws is missing and could not be fetched: npm ci in test/conformance\n%v\n%s", err, out)
	}
}

// start starts a deployment, which ends with the test.
func start(t *testing.T) *local.Deployment {
	t.Helper()
	dir := folder(t)
	build(t, filepath.Join(dir, "bin"))
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	d, err := local.Start(ctx, local.Options{
		BinDir: filepath.Join(dir, "bin"), DataDir: filepath.Join(dir, "data"),
		ListenAddr: "127.0.0.1:0", Gateways: 2, Environ: os.Environ(),
		Env: map[string][]string{"accounts": {
			"ARGON2_MEMORY_KIB=64", "ARGON2_TIME=1", // pins are tested where they are made
			"CREATIONS_PER_ADDRESS=100000", "LOGIN_FAILURES_PER_ADDRESS=100000", // all come from here
		}},
		Report: func(what string) { t.Error(what) }, // nothing may die
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, d) })
	return d
}

func stop(t *testing.T, d *local.Deployment) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := d.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// folder is a temporary one where Postgres may go when we are root: t.TempDir is
// closed to others.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pymessage-conformance-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// build makes the services' binaries, without the race detector: here the frames
// count, and the end-to-end tests look for races.
func build(t *testing.T, bin string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", bin+"/",
		"./services/gateway/cmd/gateway", "./services/accounts/cmd/accounts", "./services/social/cmd/social")
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the services: %v\n%s", err, out)
	}
}
