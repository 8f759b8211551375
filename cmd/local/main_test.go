package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// playVariable makes the test binary play the program that it is named after:
// this one, or one of the services.
const playVariable = "LOCAL_TEST_PLAY"

// patience bounds waits for what must happen.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(playVariable) == "" {
		goleak.VerifyTestMain(m)
		return
	}
	switch name := filepath.Base(os.Args[0]); {
	case name == "local":
		main()
	case len(os.Args) == 1: // else it is a migration, with nothing to do
		serveFake(name)
	}
}

// serveFake is a service that is always ready. It ends at SIGTERM unless it is the
// deaf one.
func serveFake(name string) {
	ready := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	for _, addr := range []string{os.Getenv("LISTEN_ADDR"), os.Getenv("OPS_ADDR")} {
		go func() { panic(http.ListenAndServe(addr, ready)) }()
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	<-ctx.Done()
	if name == os.Getenv("DEAF") {
		select {}
	}
}

// programs is a folder with this program and fake services.
func programs(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	binary, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	// A copy, since a link would be followed to where no services are.
	if err := os.WriteFile(filepath.Join(dir, "local"), binary, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"accounts", "social", "gateway"} {
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// session is a run of the program as a user has it.
type session struct {
	cmd    *exec.Cmd
	out    *bufio.Reader
	stderr bytes.Buffer
}

func startSession(t *testing.T, variables ...string) *session {
	t.Helper()
	dir, err := os.MkdirTemp("", "cmd-local-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // Postgres may be another user
		t.Fatal(err)
	}
	s := &session{cmd: exec.Command(filepath.Join(programs(t), "local"))}
	s.cmd.Dir = dir
	s.cmd.Env = append([]string{playVariable + "=1", "GORACE=atexit_sleep_ms=0", "LISTEN_ADDR=127.0.0.1:0", "GATEWAYS=1",
		"PATH=" + os.Getenv("PATH")}, variables...)
	s.cmd.Stderr = &s.stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.out = bufio.NewReader(out)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.AfterFunc(patience, func() { _ = s.cmd.Process.Kill() })
	t.Cleanup(func() { deadline.Stop() })
	return s
}

// until reads what it prints, to the line with words.
func (s *session) until(t *testing.T, words string) string {
	t.Helper()
	var read strings.Builder
	for {
		line, err := s.out.ReadString('\n')
		read.WriteString(line)
		if err != nil {
			t.Fatalf("it never said %q, but %q and %q", words, read.String(), s.stderr.String())
		}
		if strings.Contains(line, words) {
			return read.String()
		}
	}
}

func (s *session) interrupt(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
}

// end waits for the end and returns the rest of what it prints.
func (s *session) end(t *testing.T) (rest string, code int) {
	t.Helper()
	text, err := io.ReadAll(s.out)
	if err != nil {
		t.Fatal(err)
	}
	_ = s.cmd.Wait() // the code says it
	return string(text), s.cmd.ProcessState.ExitCode()
}

func TestCtrlCStopsItInOrder(t *testing.T) {
	t.Parallel()
	s := startSession(t)
	said := s.until(t, "ready: open http://localhost:")
	for _, what := range []string{"postgres    postgres://127.0.0.1:", "redis       redis://127.0.0.1:", "accounts ", "social ", "gateway-1 "} {
		if !strings.Contains(said, what) {
			t.Errorf("it did not say %q but %q", what, said)
		}
	}
	s.interrupt(t)
	rest, code := s.end(t)
	if code != 0 || !strings.HasSuffix(rest, "stopped; the data is kept in "+filepath.Join(s.cmd.Dir, ".data")+"\n") || s.stderr.Len() > 0 {
		t.Errorf("code %d, said %q and %q", code, rest, s.stderr.String())
	}
}

func TestSecondCtrlCStopsItAtOnce(t *testing.T) {
	t.Parallel()
	s := startSession(t, "DEAF=social")
	s.until(t, "ready: open")
	s.interrupt(t)
	s.until(t, "stopping; Ctrl-C again to stop at once")
	s.interrupt(t)
	rest, code := s.end(t)
	if code != 0 || !strings.HasPrefix(rest, "stopped at once;") {
		t.Errorf("code %d, said %q and %q", code, rest, s.stderr.String())
	}
}

func TestCtrlCWhileItStarts(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // a Postgres that never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := startSession(t, "POSTGRES_URL=postgres://admin@"+l.Addr().String()+"/chat?sslmode=disable")
	asked, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer asked.Close()
	s.interrupt(t)
	if rest, code := s.end(t); code != 0 || rest != "stopped before it had started\n" {
		t.Errorf("code %d, said %q and %q", code, rest, s.stderr.String())
	}
}

func TestTakenPortIsOneSentence(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	s := startSession(t, "LISTEN_ADDR="+l.Addr().String())
	_, code := s.end(t)
	want := fmt.Sprintf("local: port %s is taken, by another program or another run; stop it, or choose another, as in LISTEN_ADDR=:7000\n", port)
	if code != 1 || s.stderr.String() != want {
		t.Errorf("code %d, said %q", code, s.stderr.String())
	}
}

func TestCommands(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args           string
		code           int
		stdout, stderr string
	}{
		{"help", 0, "usage: local", ""},
		{"version", 0, "local dev (unknown)\n", ""},
		{"install-stores", 0, "", ""}, // both are there
		{"dance", 2, "", `local: unknown command "dance"`},
	} {
		var stdout, stderr bytes.Buffer
		code := run(strings.Fields(c.args), &stdout, &stderr)
		if code != c.code || !strings.HasPrefix(stdout.String(), c.stdout) || !strings.HasPrefix(stderr.String(), c.stderr) {
			t.Errorf("%s: code %d, said %q and %q", c.args, code, stdout.String(), stderr.String())
		}
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	s, err := readSettings(nil)
	if err != nil || s.ListenAddr != ":6969" || s.Gateways != 2 {
		t.Errorf("the defaults are %+v, %v", s, err)
	}
	for _, wrong := range []string{"GATEWAYS=0", "GATEWAYS=65", "GATEWAYS=many"} {
		if _, err := readSettings([]string{wrong}); err == nil || !strings.Contains(err.Error(), "GATEWAYS") {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}

func TestPasswordsAreNotShown(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"postgres://admin:secret@db:5432/chat": "postgres://db:5432",
		"redis://:secret@127.0.0.1:6379/0":     "redis://127.0.0.1:6379",
		"postgres://admin:sec ret%@db":         "(given)",
	} {
		if got := withoutPassword(address); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}
