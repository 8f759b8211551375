package service_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pymessage/internal/service"
	"pymessage/internal/testenv"
)

func TestMain(m *testing.M) {
	if os.Getenv(sampleVariable) != "" {
		os.Exit(sample())
	}
	testenv.Main(m)
}

func TestReadinessWaitsForEachDependencyOnce(t *testing.T) {
	t.Parallel()

	p := newProcess(t, 0)
	var up atomic.Bool
	var asked atomic.Int32
	p.Health.Await("store", func(context.Context) error {
		asked.Add(1)
		if !up.Load() {
			return errors.New("still starting")
		}
		return nil
	})
	p.Health.Await("other", func(context.Context) error { return nil })
	stop, ended := p.run(t, idle)

	p.book.Await(t, "still starting")
	wantGet(t, p.ops, "/livez", 200)
	status, body := get(t, p.ops, "/readyz")
	want := `{"problems":{"other":"waiting for it","start":"not finished","store":"waiting for it"},"status":"not ready"}`
	if status != 503 || body != want {
		t.Errorf("while it waits: %d %s", status, body)
	}

	up.Store(true)
	p.book.Await(t, `"msg":"ready"`)
	up.Store(false) // what is lost later is lost to all pods alike
	before := asked.Load()
	if status, body := get(t, p.ops, "/readyz"); status != 200 || asked.Load() != before {
		t.Errorf("when it is there: %d %s", status, body)
	}
	stop()
	if err := wantEnd(t, ended); err != nil {
		t.Error(err)
	}
}

func TestAPodIsNotReadyWhileItIsAtFaultItself(t *testing.T) {
	t.Parallel()

	p := newProcess(t, 0)
	stop, ended := p.run(t, idle)
	wantGet(t, p.ops, "/readyz", 200)
	p.Health.SetFault("lanes", "stuck")
	if body := wantGet(t, p.ops, "/readyz", 503); !strings.Contains(body, `"lanes":"stuck"`) {
		t.Error(body)
	}
	p.Health.SetFault("lanes", "")
	wantGet(t, p.ops, "/readyz", 200)
	stop()
	if err := wantEnd(t, ended); err != nil {
		t.Error(err)
	}
}

func TestAWarningIsToldAndTakesNothingAway(t *testing.T) {
	t.Parallel()

	p := newProcess(t, 0)
	stop, ended := p.run(t, idle)
	wantGet(t, p.ops, "/readyz", 200)
	p.Health.SetWarning("redis", "away for everybody")
	if status, body := get(t, p.ops, "/readyz"); status != 200 || body != `{"status":"ready","warnings":{"redis":"away for everybody"}}` {
		t.Errorf("%d %s", status, body)
	}
	p.Health.SetWarning("redis", "")
	if status, body := get(t, p.ops, "/readyz"); status != 200 || body != `{"status":"ready"}` {
		t.Errorf("%d %s", status, body)
	}
	stop()
	if err := wantEnd(t, ended); err != nil {
		t.Error(err)
	}
}

func TestTheCommandReadyAsksTheProcess(t *testing.T) {
	t.Parallel()

	ask := func(addr string) (status int, said string) {
		out, _ := testenv.NewLogBook()
		status = service.Main(echo(new(settings)), []string{"ready"}, []string{"OPS_ADDR=" + addr}, out, out)
		return status, out.String()
	}
	p := newProcess(t, 0)
	if status, said := ask(p.ops); status != 1 {
		t.Errorf("of a process that does not run: %d %s", status, said)
	}
	stop, ended := p.run(t, idle)
	wantGet(t, p.ops, "/readyz", 200)
	if status, said := ask(p.ops); status != 0 || said != "{\"status\":\"ready\"}\n" {
		t.Errorf("of one that is ready: %d %s", status, said)
	}
	_, port, _ := strings.Cut(p.ops, ":")
	if status, said := ask(":" + port); status != 0 {
		t.Errorf("by an address without a host: %d %s", status, said)
	}
	p.Health.SetFault("lanes", "stuck")
	if status, said := ask(p.ops); status != 1 || !strings.Contains(said, "stuck") {
		t.Errorf("of one at fault: %d %s", status, said)
	}
	stop()
	if err := wantEnd(t, ended); err != nil {
		t.Error(err)
	}
}

func TestToldToStopItTurnsUnreadyPausesAndOnlyThenStopsItsTasks(t *testing.T) {
	t.Parallel()

	p := newProcess(t, time.Hour)
	told, give := make(chan struct{}), make(chan struct{})
	stop, ended := p.run(t, func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			close(told)
			return nil
		case <-give:
			return errors.New("gives up in the pause")
		}
	})
	wantGet(t, p.ops, "/readyz", 200)
	stop()
	if body := wantGet(t, p.ops, "/readyz", 503); !strings.Contains(body, `"drain":"stopping"`) {
		t.Error(body)
	}
	select {
	case <-told:
		t.Error("the task was told to stop before the pause was over")
	default:
	}
	close(give)
	if err := wantEnd(t, ended); err == nil || err.Error() != "gives up in the pause" {
		t.Errorf("got %v", err)
	}
}

func TestTheOpsListenerGoesLast(t *testing.T) {
	t.Parallel()

	p := newProcess(t, time.Millisecond)
	stop, ended := p.run(t, func(ctx context.Context) error {
		<-ctx.Done()
		wantGet(t, p.ops, "/livez", 200)
		wantGet(t, p.ops, "/readyz", 503)
		return ctx.Err()
	})
	wantGet(t, p.ops, "/readyz", 200)
	stop()
	if err := wantEnd(t, ended); err != nil {
		t.Error(err)
	}
	wantGet(t, p.ops, "/livez", 0)
}

func TestATaskThatFailsEndsTheOthersAndTheProcess(t *testing.T) {
	t.Parallel()

	p := newProcess(t, time.Hour)
	broken := errors.New("broken")
	ready := make(chan struct{})
	_, ended := p.run(t, idle, func(context.Context) error { <-ready; return broken })
	wantGet(t, p.ops, "/readyz", 200)
	close(ready)
	if err := wantEnd(t, ended); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestAPortThatIsTakenEndsTheProcess(t *testing.T) {
	t.Parallel()

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()

	p := newProcess(t, time.Hour)
	_, ended := p.run(t, idle, service.HTTP(addr, http.NotFoundHandler()))
	if err := wantEnd(t, ended); err == nil || !strings.Contains(err.Error(), "listening on "+addr) {
		t.Errorf("a task's port: %v", err)
	}
	ops := service.NewProcess(service.Common{OpsAddr: addr}, p.Log)
	if err := ops.Run(t.Context(), idle); err == nil || !strings.Contains(err.Error(), "listening on "+addr) {
		t.Errorf("the ops port: %v", err)
	}
}

func TestRequestsInFlightAreAnsweredBeforeAnHTTPTaskEnds(t *testing.T) {
	t.Parallel()

	p := newProcess(t, 0)
	addr := freeAddr(t)
	begun, finish := make(chan struct{}), make(chan struct{})
	stop, ended := p.run(t, service.HTTP(addr, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-finish
		fmt.Fprint(w, "done")
	})))
	answered := make(chan string, 1)
	go func() {
		status, body := get(t, addr, "/")
		answered <- fmt.Sprint(status, " ", body)
	}()
	<-begun
	stop()
	wantGet(t, addr, "/", 0) // nobody new is let in
	close(finish)
	if got := <-answered; got != "200 done" {
		t.Errorf("got %s", got)
	}
	if err := wantEnd(t, ended); err != nil {
		t.Error(err)
	}
}

func TestTheOpsPortHasMetricsAndProfiles(t *testing.T) {
	t.Parallel()

	p := newProcess(t, 0)
	stop, ended := p.run(t, idle)
	body := wantGet(t, p.ops, "/metrics", 200)
	for _, name := range []string{"go_goroutines", "process_open_fds", `pymessage_build_info{commit="unknown",version="dev"} 1`, "pymessage_ready 1"} {
		if !strings.Contains(body, name) {
			t.Errorf("%s is missing", name)
		}
	}
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/goroutine", "/debug/pprof/cmdline", "/debug/pprof/symbol"} {
		wantGet(t, p.ops, path, 200)
	}
	wantGet(t, p.ops, "/other", 404)
	stop()
	if err := wantEnd(t, ended); err != nil {
		t.Error(err)
	}
}

// echo is a program with a migration that fails on request.
func echo(cfg *settings) service.Program {
	return service.Program{
		Name: "echo", Settings: cfg,
		Serve: func(ctx context.Context, p *service.Process) error { return errors.New("cannot serve") },
		Database: []service.DatabaseCommand{{Name: "migrate", Do: func(_ context.Context, url string, _ *slog.Logger) error {
			if url == "unlucky" {
				return errors.New("no luck")
			}
			return nil
		}}},
	}
}

func TestTheCommandLineChoosesWhatToDo(t *testing.T) {
	t.Parallel()

	good := []string{"KEY=0123456789abcdef"}
	for _, c := range []struct {
		args, environ []string
		status        int
		out           string
	}{
		{[]string{"version"}, nil, 0, "echo dev (unknown)"},
		{[]string{"help"}, nil, 0, fmt.Sprintf("%-28s what nobody may read (required)", "KEY")},
		{[]string{"help"}, nil, 0, "usage: echo [serve|ready|version|help|migrate]"},
		{[]string{"--help"}, nil, 0, fmt.Sprintf("%-28s how much (default 3)", "SIZE")},
		{[]string{"dance"}, good, 2, `unknown command "dance"`},
		{[]string{"serve", "now"}, good, 2, "usage:"},
		{nil, []string{"SIZE=0"}, 2, "KEY is required"},
		{nil, []string{"SIZE=0"}, 2, "SIZE must be positive"},
		{nil, good, 1, "cannot serve"},
		{[]string{"serve"}, good, 1, "cannot serve"},
		{[]string{"migrate"}, []string{"DATABASE_URL=lucky"}, 0, "migrate finished"},
		{[]string{"migrate"}, []string{"DATABASE_URL=unlucky"}, 1, "no luck"},
		{[]string{"migrate"}, good, 2, "DATABASE_URL is required"},
	} {
		out, _ := testenv.NewLogBook()
		status := service.Main(echo(new(settings)), c.args, c.environ, out, out)
		if status != c.status || !strings.Contains(out.String(), c.out) {
			t.Errorf("%q: status %d and\n%s\nwant %d and %s", c.args, status, out, c.status, c.out)
		}
	}
}

func TestAProgramWithoutASchemaHasNoMigrations(t *testing.T) {
	t.Parallel()

	program := echo(new(settings))
	program.Database = nil
	if status := service.Main(program, []string{"migrate"}, nil, io.Discard, io.Discard); status != 2 {
		t.Errorf("status %d", status)
	}
}
