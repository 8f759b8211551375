// Package model tests a deployment of two gateways against a model of what users can
// do: whoever follows what a socket is told knows what asking would tell.
package model

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"pymessage/internal/local"
)

// patience is how long a test waits for an event before it fails. Everything runs on
// the same few cores, with the race detector.
const patience = 30 * time.Second

// gateways are the URLs of two.
var gateways [2]string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	folder, err := os.MkdirTemp("", "pymessage-model-")
	if err == nil {
		defer os.RemoveAll(folder)
		err = os.Chmod(folder, 0o755) // Postgres may run as another user
	}
	var d *local.Deployment
	if err == nil {
		d, err = start(folder)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for i, g := range d.Gateways() {
		gateways[i] = g.PublicURL
	}
	code := m.Run()
	if err := d.Stop(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

// start builds the services and starts them.
func start(folder string) (*local.Deployment, error) {
	bin, data := filepath.Join(folder, "bin"), filepath.Join(folder, "data")
	build := exec.Command("go", "build", "-race", "-o", bin+"/",
		"./services/gateway/cmd/gateway", "./services/accounts/cmd/accounts", "./services/social/cmd/social")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the services: %w\n%s", err, out)
	}
	if err := os.Mkdir(data, 0o755); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	return local.Start(ctx, local.Options{
		BinDir: bin, DataDir: data, ListenAddr: "127.0.0.1:0", Gateways: 2, Environ: os.Environ(),
		// Cheap pins: what they cost is tested where they are made.
		Env: map[string][]string{"accounts": {"ARGON2_MEMORY_KIB=64", "ARGON2_TIME=1"}},
	})
}

var names atomic.Int64

func uniqueName(prefix string) string { return fmt.Sprint(prefix, names.Add(1)) }
