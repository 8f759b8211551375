package service_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pymessage/internal/service"
)

// timersVariable makes the test binary relax its timers and tell of it.
const timersVariable = "PYMESSAGE_TEST_TIMERS"

func init() {
	if os.Getenv(timersVariable) == "" {
		return
	}
	service.RelaxTimers(os.Args, os.Environ())
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	fmt.Println(os.Getpid(), slack, err, os.Args[1:])
	os.Exit(0)
}

func TestRelaxedTimersMayBeLateInTheSameProcessBegunOnceMore(t *testing.T) {
	t.Parallel()

	var out strings.Builder
	cmd := exec.CommandContext(t.Context(), os.Args[0], "an", "argument")
	cmd.Env = append(os.Environ(), timersVariable+"=1")
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintln(cmd.Process.Pid, 250000, nil, "[an argument]"); out.String() != want {
		t.Errorf("it told %q, want %q", out.String(), want)
	}
}
