package service_test

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"pymessage/internal/service"
	"pymessage/internal/stores"
	"pymessage/internal/testenv"
)

// patience is how long a test waits for what should happen at once.
const patience = 30 * time.Second

// freeAddr is an address of this machine that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	port, err := stores.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return "127.0.0.1:" + strconv.Itoa(port)
}

// process is one under test.
type process struct {
	*service.Process
	book *testenv.LogBook
	ops  string // address
}

func newProcess(t *testing.T, drainPause time.Duration) *process {
	t.Helper()
	book, log := testenv.NewLogBook()
	common := service.Common{OpsAddr: freeAddr(t), DrainPause: drainPause}
	return &process{service.NewProcess(common, log), book, common.OpsAddr}
}

// run runs tasks until stop is called or one fails; ended gets what Run returned.
func (p *process) run(t *testing.T, tasks ...service.Task) (stop func(), ended <-chan error) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	result := make(chan error, 1)
	go func() { result <- p.Run(ctx, tasks...) }()
	return stop, result
}

// idle is a task with nothing to do.
func idle(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// get asks addr; a status of 0 means that nobody listens.
func get(t *testing.T, addr, path string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true // so that no idle connection outlives the test
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(text))
}

// wantGet asks until the answer has this status, which is soon.
func wantGet(t *testing.T, addr, path string, status int) (body string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		got, body := get(t, addr, path)
		if got == status {
			return body
		}
		if time.Now().After(deadline) {
			t.Fatalf("GET %s answers %d %s, want %d", path, got, body, status)
		}
	}
}

// wantEnd waits for the end of Run.
func wantEnd(t *testing.T, ended <-chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(patience):
		t.Fatal("Run does not end")
		return nil
	}
}
