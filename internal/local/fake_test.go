package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
)

// fakeVariable makes the test binary play one of the services, by the name that
// it was started with.
const fakeVariable = "LOCAL_TEST_FAKE"

func TestMain(m *testing.M) {
	if os.Getenv(fakeVariable) == "" {
		goleak.VerifyTestMain(m)
		return
	}
	if err := runFake(filepath.Base(os.Args[0])); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}

// fakeServices is a folder of services that the test binary plays.
func fakeServices(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{nameAccounts, nameSocial, nameGateway} {
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func runFake(name string) error {
	command := strings.Join(os.Args[1:], " ")
	if fault := os.Getenv("FAKE_FAULT"); fault == strings.TrimSpace(name+" "+command) {
		return errors.New(name + ": settings are wrong:\n  FAKE_FAULT is set")
	}
	if command == "migrate" {
		fmt.Println(`{"level":"INFO","msg":"migrated"}`)
		return nil
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return serveFake(ctx, name)
}

// serveFake serves what a service serves, until SIGTERM.
func serveFake(ctx context.Context, name string) error {
	failed := make(chan error)
	for _, addr := range []string{os.Getenv("LISTEN_ADDR"), os.Getenv("OPS_ADDR"), os.Getenv("INTERNAL_ADDR")} {
		if addr != "" {
			go func() { failed <- http.ListenAndServe(addr, echoService(name)) }()
		}
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		fmt.Println(`{"level":"INFO","msg":"serve finished"}`)
		return nil
	}
}

// echoService tells its name and environment, and echoes what comes by WebSocket.
func echoService(name string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/environ", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(os.Environ())
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if websocket.IsWebSocketUpgrade(r) {
			echo(w, r)
			return
		}
		_, _ = fmt.Fprintf(w, "%s %s from %s to %s", name, r.URL.Path, r.Header.Get("X-Forwarded-For"), r.Host)
	})
	return mux
}

func echo(w http.ResponseWriter, r *http.Request) {
	conn, err := new(websocket.Upgrader).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	for {
		kind, frame, err := conn.ReadMessage()
		if err != nil || conn.WriteMessage(kind, frame) != nil {
			return
		}
	}
}
