package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"pymessage/internal/local"
)

// settings are how hard a run is. The environment makes the long form of it.
type settings struct {
	duration time.Duration
	users    int
	rate     int // messages a second, of all
	seed     uint64
	long     bool
}

func readSettings(t *testing.T) settings {
	s := settings{duration: 24 * time.Second, users: 40, rate: 150, seed: uint64(time.Now().UnixNano())}
	read(t, "CHAOS_DURATION", &s.duration, time.ParseDuration)
	read(t, "CHAOS_USERS", &s.users, number[int])
	read(t, "CHAOS_RATE", &s.rate, number[int])
	read(t, "CHAOS_SEED", &s.seed, number[uint64])
	if s.users < 16 || s.users%4 != 0 { // the last one is a Client, and some are deleted
		t.Fatalf("CHAOS_USERS=%d: not a multiple of 4 from 16 on", s.users)
	}
	s.long = s.duration > time.Minute
	return s
}

// read takes a setting from the environment if it is there.
func read[T any](t *testing.T, name string, into *T, parse func(string) (T, error)) {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return
	}
	value, err := parse(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	*into = value
}

func number[T any](text string) (n T, err error) {
	_, err = fmt.Sscan(text, &n)
	return n, err
}

// build makes the services' binaries, with the race detector if we have it.
func build(t *testing.T, folder string) {
	t.Helper()
	args := []string{"build", "-o", filepath.Join(folder, "bin") + "/"}
	if raced {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args,
		"./services/gateway/cmd/gateway", "./services/accounts/cmd/accounts", "./services/social/cmd/social")...)
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the services: %v\n%s", err, out)
	}
}

// makeFolder is a temporary folder in which Postgres may run as another user.
func makeFolder(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "pymessage-chaos-")
	if err == nil {
		t.Cleanup(func() { clearUp(t, folder) })
		err = os.Chmod(folder, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// clearUp leaves the logs of a run that failed.
func clearUp(t *testing.T, folder string) {
	if t.Failed() {
		t.Log("logs and data are left in " + folder)
		_ = os.RemoveAll(filepath.Join(folder, "bin"))
		return
	}
	_ = os.RemoveAll(folder)
}

func options(folder string, s settings, social string) local.Options {
	o := local.Options{
		BinDir: filepath.Join(folder, "bin"), DataDir: filepath.Join(folder, "data"),
		ListenAddr: "127.0.0.1:0", Gateways: 2, Durable: true, Environ: os.Environ(),
		Env: map[string][]string{
			// Cheap pins: what they cost is tested where they are made.
			// What deleted accounts have left is soon looked for once more.
			"accounts": {"ARGON2_MEMORY_KIB=64", "ARGON2_TIME=1", "DELETION_GRACE=" + deletionGrace.String()},
			// Small queues, so that readers who freeze go on from the store.
			"gateway": {"SOCIAL_URL=http://" + social, "QUEUE_BYTES=16384"},
		},
	}
	if !s.long { // a ring that is lost need not hold up the end for long
		o.Env["gateway"] = append(o.Env["gateway"], "HEAD_CHECK=5s")
	}
	return o
}
