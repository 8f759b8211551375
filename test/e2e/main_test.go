// Package e2e tests the whole deployment: Postgres, Redis, accounts, social and two
// gateways as real processes behind the front door, built with the race detector.
package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pymessage/internal/local"
)

// patience is how long a test waits for an event before it fails. It is generous:
// everything runs on the same few cores, with the race detector.
const patience = 30 * time.Second

// shared is the deployment of the tests that break nothing.
var shared = sync.OnceValues(func() (*local.Deployment, error) { return start(local.Options{}) })

var (
	folder  string // of everything these tests leave behind; removed at the end
	running struct {
		sync.Mutex
		deployments []*local.Deployment
	}
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if folder, err = os.MkdirTemp("", "pymessage-e2e-"); err == nil {
		err = os.Chmod(folder, 0o755) // Postgres may run as another user
	}
	if err == nil {
		err = build()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	code := m.Run()
	for _, d := range running.deployments {
		if err := d.Stop(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	return code
}

// build makes the services' binaries, as the deployment expects them.
func build() error {
	cmd := exec.Command("go", "build", "-race", "-o", filepath.Join(folder, "bin")+"/",
		"./services/gateway/cmd/gateway", "./services/accounts/cmd/accounts", "./services/social/cmd/social")
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the services: %w\n%s", err, out)
	}
	return nil
}

// start starts a deployment of its own, stopped when all tests are over.
func start(o local.Options) (*local.Deployment, error) {
	dir, err := os.MkdirTemp(folder, "deployment-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	o.BinDir, o.DataDir = filepath.Join(folder, "bin"), dir
	o.ListenAddr, o.Gateways = "127.0.0.1:0", 2
	o.Environ = os.Environ()
	if o.Env == nil {
		o.Env = map[string][]string{}
	}
	// Cheap pins: what they cost is tested where they are made.
	o.Env["accounts"] = append(o.Env["accounts"], "ARGON2_MEMORY_KIB=64", "ARGON2_TIME=1")
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	d, err := local.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	running.Lock()
	defer running.Unlock()
	running.deployments = append(running.deployments, d)
	return d, nil
}

// deployment is the shared one.
func deployment(t *testing.T) *local.Deployment {
	t.Helper()
	d, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// ownDeployment is one that the test may break. It is stopped with the test.
func ownDeployment(t *testing.T, o local.Options) *local.Deployment {
	t.Helper()
	o.Report = func(what string) { t.Log(what) }
	d, err := start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := d.Stop(ctx); err != nil {
			t.Error(err)
		}
		running.Lock()
		defer running.Unlock()
		for i, other := range running.deployments {
			if other == d {
				running.deployments = append(running.deployments[:i], running.deployments[i+1:]...)
				break
			}
		}
	})
	return d
}
