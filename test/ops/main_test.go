// Package ops tests what operators rely on, with the real programs: that dashboards
// show something, that alerts can fire, and that rollouts lose nothing.
package ops

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"pymessage/internal/local"
)

// root is the top of the repository.
const root = "../.."

// patience is how long a test waits for an event before it fails. It is generous:
// everything runs on the same few cores.
const patience = 60 * time.Second

var (
	folder string // of everything these tests leave behind; removed at the end
	binDir string // of the programs as they are
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if folder, err = os.MkdirTemp("", "pymessage-ops-"); err == nil {
		err = os.Chmod(folder, 0o755) // Postgres may run as another user
	}
	binDir = filepath.Join(folder, "bin")
	if err == nil {
		err = build(root, binDir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	return m.Run()
}

// build makes the programs of a source tree.
func build(tree, into string) error {
	cmd := exec.Command("go", "build", "-o", into+"/",
		"./services/gateway/cmd/gateway", "./services/accounts/cmd/accounts", "./services/social/cmd/social")
	cmd.Dir = tree
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the services of %s: %w\n%s", tree, err, out)
	}
	return nil
}

// deploy starts a deployment, which is stopped with the test.
func deploy(t *testing.T, o local.Options) *local.Deployment {
	t.Helper()
	dir, err := os.MkdirTemp(folder, "deployment-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	o.DataDir, o.ListenAddr, o.Environ = dir, "127.0.0.1:0", os.Environ()
	if o.BinDir == "" {
		o.BinDir = binDir
	}
	o.Report = func(what string) { t.Log(what) }
	if o.Env == nil {
		o.Env = map[string][]string{}
	}
	// Cheap pins: what they cost is tested where they are made.
	o.Env["accounts"] = append(o.Env["accounts"], "ARGON2_MEMORY_KIB=64", "ARGON2_TIME=1")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	d, err := local.Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := d.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return d
}

// until asks again and again until the answer is yes: other programs have no event
// for us.
func until(t *testing.T, what string, ask func() bool) {
	t.Helper()
	late := time.After(patience)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for !ask() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
