package child_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pymessage/internal/stores/child"
)

// roleVariable makes the test binary play one of the programs below.
const roleVariable = "CHILD_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "":
		goleak.VerifyTestMain(m)
	case "parent":
		runParent()
	case "stubborn":
		runStubborn()
	}
}

// runParent starts a child that would live on, tells its pid and dies at once.
func runParent() {
	out, in, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	cmd := exec.Command("sleep", "60")
	cmd.Stdin, cmd.Stdout = out, os.Stdout // holds the test's pipe open while it lives
	p, err := child.Start(cmd, syscall.SIGKILL)
	if err != nil {
		panic(err)
	}
	fmt.Println(p.PID())
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	_ = in.Close()
}

// runStubborn ignores SIGTERM until it is killed.
func runStubborn() {
	cmd := exec.Command("sh", "-c", `trap "" TERM; echo ready; while :; do sleep 60; done`)
	cmd.Stdout = os.Stdout
	_ = syscall.Exec("/bin/sh", cmd.Args, []string{"PATH=" + os.Getenv("PATH")})
}

func self(role string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	return cmd
}

func start(t *testing.T, cmd *exec.Cmd) *child.Process {
	t.Helper()
	p, err := child.Start(cmd, syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

func TestChildDiesWhenItsParentIsKilled(t *testing.T) {
	t.Parallel()
	parent := self("parent")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	// The pipe ends only when the grandchild, which holds it too, is gone.
	lines := bufio.NewScanner(out)
	lines.Scan()
	pid, err := strconv.Atoi(strings.TrimSpace(lines.Text()))
	if err != nil {
		t.Fatalf("the parent said %q", lines.Text())
	}
	timer := time.AfterFunc(20*time.Second, func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	for lines.Scan() {
	}
	if !timer.Stop() {
		t.Error("the child outlived its killed parent")
	}
	_ = parent.Wait()
}

func TestStopWaitsForTheEnd(t *testing.T) {
	t.Parallel()
	p := start(t, exec.Command("sleep", "60"))
	if !p.Running() {
		t.Fatal("not running after Start")
	}
	if err := p.Stop(t.Context(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if p.Running() {
		t.Error("still running after Stop")
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("signal to an ended process: %v", err)
	}
}

func TestStopKillsWhoeverDoesNotListen(t *testing.T) {
	t.Parallel()
	cmd := self("stubborn")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, cmd)
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("said %q: %v", line, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.Stop(ctx, syscall.SIGTERM); err != context.DeadlineExceeded {
		t.Errorf("Stop returned %v", err)
	}
	if p.Running() {
		t.Error("still running after Stop")
	}
}

func TestStartReportsWhatCannotRun(t *testing.T) {
	t.Parallel()
	if _, err := child.Start(exec.Command("/no/such/program"), syscall.SIGKILL); err == nil {
		t.Error("started a program that does not exist")
	}
}

func TestErrTellsTheExitCode(t *testing.T) {
	t.Parallel()
	p := start(t, exec.Command("sh", "-c", "exit 7"))
	if err := p.Err(); err == nil || err.Error() != "exit status 7" {
		t.Errorf("got %v", err)
	}
}
