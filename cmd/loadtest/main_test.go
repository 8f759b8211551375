package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// bin is where the services' binaries are, with the race detector.
var bin string

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == relayCommand { // started by startRelay
		fmt.Fprintln(os.Stderr, serveRelay(os.Stdout))
		os.Exit(1)
	}
	os.Exit(build(m))
}

func build(m *testing.M) int {
	folder, err := os.MkdirTemp("", "pymessage-loadtest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	bin = filepath.Join(folder, "bin")
	cmd := exec.Command("go", "build", "-race", "-o", bin+"/",
		"./services/gateway/cmd/gateway", "./services/accounts/cmd/accounts", "./services/social/cmd/social")
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the services: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// TestScenarios runs all of them, short, on one deployment.
func TestScenarios(t *testing.T) {
	t.Parallel()
	o := optionsOf(t, "chat", "-bin", bin)
	target, err := openTarget(t.Context(), o, func(what string) { t.Log(what) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := target.stop(); err != nil {
			t.Error(err)
		}
	})
	for _, run := range []struct {
		flags   string
		figures []string // that must be positive
	}{
		{"chat -users 20 -version mixed -duration 1s -warmup 0s", []string{"memory of gateway-1"}},
		{"chat -users 8 -version 2 -duration 500ms -warmup 100ms -size 4096 -window 16", nil},
		{"paced -users 10 -rate 100 -version mixed -duration 1s -warmup 100ms", nil},
		{"fanin -users 10 -version mixed -duration 500ms -warmup 0s", nil},
		{"chat -users 4 -prefix again -duration 100ms -warmup 0s", nil},
		{"chat -users 4 -prefix again -duration 100ms -warmup 0s ", nil},
		{"idle -users 40 -version mixed -duration 500ms -warmup 0s", []string{"memory of a socket at rest", "logged in"}},
		{"storm -users 40 -version 1 -pins cheap", []string{"back and caught up"}},
		{"storm -users 40 -version 2 -backlog 3", []string{"back and caught up"}},
		{"storm -users 20 -version 2 -login pin -pins cheap -cut sockets", []string{"back and caught up"}},
		{"freeze -users 10 -rate 50 -version mixed -frozen 2 -heavy 400 -rounds 1 -duration 2s -warmup 1s",
			[]string{"p99, frozen to control", "sockets whose queue was full"}},
	} {
		t.Run(run.flags, func(t *testing.T) { runScenario(t, target, run.flags, run.figures) })
	}
}

func optionsOf(t *testing.T, args ...string) *options {
	t.Helper()
	o, err := readOptions(args[0], args[1:], io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestSettingsOfServicesAddUp(t *testing.T) {
	t.Parallel()
	o := optionsOf(t, "chat", "-env", "gateway:A=1,social:B=2", "-env", "gateway:C=3")
	got, err := o.serviceEnv()
	want := map[string][]string{"gateway": {"A=1", "C=3"}, "social": {"B=2"}}
	if err != nil || !maps.EqualFunc(got, want, slices.Equal[[]string]) {
		t.Errorf("got %v, %v", got, err)
	}
	if title := o.set["env"]; title != "gateway:A=1,social:B=2,gateway:C=3" {
		t.Errorf("the title has %q", title)
	}
}

func runScenario(t *testing.T, target *target, flags string, figures []string) {
	o := optionsOf(t, append(strings.Fields(flags), "-quiet", "100ms")...)
	p := startProgress(io.Discard)
	r, err := scenarios[o.scenario](t.Context(), target, o, p)
	p.stop()
	if err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	r.write(&table, o.title(target), nil)
	t.Log(table.String())
	if err := r.verdict.err(); err != nil {
		t.Error(err)
	}
	if o.scenario != "idle" && (r.verdict.Acked == 0 || r.verdict.Delivered != r.verdict.Acked) {
		t.Errorf("%d acknowledged, %d delivered", r.verdict.Acked, r.verdict.Delivered)
	}
	if o.scenario == "paced" && figureOf(r, stoodStill) < 0 {
		t.Error("nobody watched the disk")
	}
	for _, name := range figures {
		if value := figureOf(r, name); value <= 0 {
			t.Errorf("%s is %v", name, value)
		}
	}
}

func figureOf(r *result, name string) float64 {
	for _, f := range r.figures {
		if f.Name == name {
			return f.Value
		}
	}
	return -1
}

// TestRunAgainstTheFloor is a whole run of the program, without a deployment.
func TestRunAgainstTheFloor(t *testing.T) {
	t.Parallel()
	given := httptestRelay(t, newRelay())
	file := filepath.Join(t.TempDir(), "results.json")
	var stdout, stderr bytes.Buffer
	code := run([]string{"chat", "-users", "10", "-duration", "300ms", "-warmup", "0s", "-floor", "-json", file,
		"-urls", given + "," + given, "-pids", fmt.Sprintf("gateway-1=%d", os.Getpid())}, &stdout, &stderr)
	if code != 0 {
		t.Fatalf("exit code %d\n%s\n%s", code, &stdout, &stderr)
	}
	for _, words := range []string{"of the floor", "p99.9", "0 lost, 0 doubled, 0 disordered", "memory of gateway-1"} {
		if !strings.Contains(stdout.String(), words) {
			t.Errorf("the table does not say %q:\n%s", words, &stdout)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var results report
	if err := json.Unmarshal(text, &results); err != nil {
		t.Fatal(err)
	}
	if results.Scenario != "chat" || results.Options["users"] != "10" || results.Result.PerSecond <= 0 ||
		results.Result.Latency.P999 <= 0 || results.Floor == nil || results.Floor.PerSecond <= 0 {
		t.Errorf("got %s", text)
	}
}

func httptestRelay(t *testing.T, r *relay) (address string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(r.upgrade))
	t.Cleanup(server.Close)
	return "ws" + strings.TrimPrefix(server.URL, "http") + "/"
}

// TestMessagesOfARunBefore are not confirmed yet and come again to its users.
func TestMessagesOfARunBefore(t *testing.T) {
	t.Parallel()
	u := &user{w: newWorld(&target{}, &options{}, 0), version: 2}
	u.incoming = map[int64]*stream{12345678: {}}
	content := make([]byte, leastSize)
	stamped{run: u.w.run + 1, number: 5}.write(content)
	r := received{sender: 12345678, content: content, seq: 3}
	if err := u.message(&socket{}, r); err != nil || u.incoming[12345678].highest != 0 || u.last != 3 {
		t.Errorf("got %v, %+v, last %d", err, u.incoming[12345678], u.last)
	}
	stamped{run: u.w.run, number: 1}.write(content)
	r.seq = 4
	if err := u.message(&socket{}, r); err != nil || u.incoming[12345678].highest != 1 || u.last != 4 {
		t.Errorf("got %v, %+v, last %d", err, u.incoming[12345678], u.last)
	}
}

// TestRunFailsWhenAPromiseIsBroken meddles with what one user gets.
func TestRunFailsWhenAPromiseIsBroken(t *testing.T) {
	t.Parallel()
	for words, meddle := range map[string]func(n int, kept, event []byte) [][]byte{
		"1 lost, 0 doubled, 0 disordered": func(n int, _, event []byte) [][]byte {
			if n == 5 {
				return nil
			}
			return [][]byte{event}
		},
		"0 lost, 1 doubled, 0 disordered": func(n int, _, event []byte) [][]byte {
			if n == 5 {
				return [][]byte{event, event}
			}
			return [][]byte{event}
		},
		"0 lost, 0 doubled, 1 disordered": func(n int, kept, event []byte) [][]byte {
			switch n {
			case 5:
				return nil
			case 6:
				return [][]byte{event, kept}
			}
			return [][]byte{event}
		},
		"a message that nobody sent": func(n int, _, event []byte) [][]byte {
			if n == 5 {
				return [][]byte{[]byte(`{"type":"message","sender":99999999,"content":"spam"}`)}
			}
			return [][]byte{event}
		},
	} {
		t.Run(words, func(t *testing.T) {
			t.Parallel()
			r := newRelay()
			r.deliver = meddler(meddle)
			var stdout, stderr bytes.Buffer
			code := run([]string{"chat", "-users", "2", "-window", "1", "-duration", "100ms", "-warmup", "0s",
				"-patience", "100ms", "-urls", httptestRelay(t, r)}, &stdout, &stderr)
			if code != 1 || !strings.Contains(stdout.String(), words) {
				t.Errorf("exit code %d\n%s\n%s", code, &stdout, &stderr)
			}
		})
	}
}

// meddler counts the events to the first user, and delivers what meddle makes of
// each; kept is the one before.
func meddler(meddle func(n int, kept, event []byte) [][]byte) func(*peer, []byte) error {
	var mu sync.Mutex
	var n int
	var kept []byte
	return func(to *peer, event []byte) error {
		if to.id != firstRelayID+1 {
			return to.write(event)
		}
		mu.Lock()
		defer mu.Unlock()
		n++
		for _, e := range meddle(n, kept, event) {
			if err := to.write(e); err != nil {
				return err
			}
		}
		kept = event
		return nil
	}
}

func TestOptionsThatDoNotFit(t *testing.T) {
	t.Parallel()
	for _, args := range []string{
		"chat more", "chat -users 3", "chat -users 0", "chat -size 27", "chat -size 4097", "chat -window 0", "chat -window 257",
		"chat -version 3", "chat -parallel 0", "chat -duration -1s", "chat -quiet -1s", "chat -duration 0s", "paced -rate 0", "storm -login resume", "storm -login token",
		"storm -cut cable", "storm -pins dear", "freeze -frozen 0", "freeze -rounds 0",
	} {
		words := strings.Fields(args)
		if _, err := readOptions(words[0], words[1:], io.Discard); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
	for _, args := range []string{"", "help"} {
		if code := run(strings.Fields(args), io.Discard, io.Discard); code != 0 {
			t.Errorf("%q: exit code %d", args, code)
		}
	}
	for _, args := range []string{"dance", "chat -users 3", "chat -urls http://x", "chat -urls ws://127.0.0.1:1 -pids x"} {
		if code := run(strings.Fields(args), io.Discard, io.Discard); code == 0 {
			t.Errorf("%q: exit code 0", args)
		}
	}
}

func TestStormOfLoginsPaysForItsPins(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"chat": "", "storm": "default", "storm -version 2": "", "storm -version 2 -login pin": "default",
		"storm -version mixed": "default", "storm -pins cheap": "cheap",
	} {
		if got := optionsOf(t, strings.Fields(args)...).pins; got != want {
			t.Errorf("%q: pins %q, want %q", args, got, want)
		}
	}
}
