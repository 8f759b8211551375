package service_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"pymessage/internal/service"
)

// monitorVariable makes the test binary calm its monitor and tell of it.
const monitorVariable = "PYMESSAGE_TEST_MONITOR"

func init() {
	if os.Getenv(monitorVariable) == "" {
		return
	}
	service.CalmMonitor(os.Args, os.Environ())
	fmt.Println(os.Getpid(), os.Getenv("GODEBUG"), os.Args[1:])
	os.Exit(0)
}

func TestAProgramBeginsOnceMoreAsTheSameProcessToCalmItsMonitor(t *testing.T) {
	t.Parallel()
	const calm = "schedtrace=2147483647"
	for _, c := range []struct{ name, before, after string }{
		{"nothing set", "", calm},
		{"other settings are kept", "GODEBUG=madvdontneed=1", "madvdontneed=1," + calm},
		{"who traces is left alone", "GODEBUG=schedtrace=60000", "schedtrace=60000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			cmd := exec.CommandContext(t.Context(), os.Args[0], "an", "argument")
			cmd.Env = slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "GODEBUG=") })
			cmd.Env = append(cmd.Env, monitorVariable+"=1")
			if c.before != "" {
				cmd.Env = append(cmd.Env, c.before)
			}
			cmd.Stdout = &out
			if err := cmd.Run(); err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintln(cmd.Process.Pid, c.after, "[an argument]"); out.String() != want {
				t.Errorf("it told %q, want %q", out.String(), want)
			}
		})
	}
}
