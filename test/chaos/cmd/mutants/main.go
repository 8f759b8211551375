// Command mutants shows that the fault harness finds what is broken: it runs its short
// form on the code as it is, which must pass, and on each mutant, which must not. It is
// run from the root of the repository, with the names of mutants, or without for all.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"pymessage/test/chaos/mutants"
)

// tries is how many runs, each with other faults, may be needed to catch a mutant.
const tries = 3

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	missed, err := run(ctx, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if missed > 0 {
		fmt.Printf("%d missed\n", missed)
		os.Exit(1)
	}
	fmt.Println("all caught")
}

func run(ctx context.Context, names []string) (missed int, err error) {
	all, err := chosen(names)
	if err != nil {
		return 0, err
	}
	folder, err := os.MkdirTemp("", "pymessage-mutants-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(folder)
	if out, err := harness(ctx, ""); err != nil {
		return 0, fmt.Errorf("the code as it is does not pass: %w\n%s", err, tail(out))
	}
	fmt.Println("passed  the code as it is")
	for _, m := range all {
		caught, err := hunt(ctx, m, filepath.Join(folder, m.Name))
		if err != nil {
			return missed, fmt.Errorf("%s: %w", m.Name, err)
		}
		if !caught {
			missed++
		}
	}
	return missed, nil
}

func chosen(names []string) ([]mutants.Mutant, error) {
	all, err := mutants.All()
	if err != nil || len(names) == 0 {
		return all, err
	}
	all = slices.DeleteFunc(all, func(m mutants.Mutant) bool { return !slices.Contains(names, m.Name) })
	if len(all) != len(names) {
		return nil, fmt.Errorf("not all of these are mutants: %s", strings.Join(names, " "))
	}
	return all, nil
}

// hunt runs the harness on a mutant until it is caught. A run that fails for another
// reason does not count.
func hunt(ctx context.Context, m mutants.Mutant, folder string) (caught bool, err error) {
	overlay, err := m.Overlay(".", folder)
	if err != nil {
		return false, err
	}
	if out, err := goTool(ctx, overlay, "vet", "./services/..."); err != nil {
		return false, fmt.Errorf("it does not compile: %w\n%s", err, out)
	}
	for try := range tries {
		began := time.Now()
		out, err := harness(ctx, overlay)
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if found := broken(out, m.Found); err != nil && found != "" {
			fmt.Printf("caught  %s, try %d, %v: %s\n", m.Name, try+1, time.Since(began).Round(time.Second), found)
			return true, nil
		}
		if err != nil {
			fmt.Printf("failed for another reason: %s, try %d\n%s", m.Name, try+1, tail(out))
		}
	}
	fmt.Printf("MISSED  %s: %s\n", m.Name, m.Why)
	return false, nil
}

// broken is the rule, of some, that a run found broken most often, and how often.
func broken(out []byte, rules []string) (found string) {
	most := 0
	for _, rule := range rules {
		if n := bytes.Count(out, []byte(rule+": ")); n > most {
			found, most = fmt.Sprintf("%s (%d lines)", rule, n), n
		}
	}
	return found
}

// harness runs the short form.
func harness(ctx context.Context, overlay string) ([]byte, error) {
	return goTool(ctx, overlay, "test", "-count=1", "-run", "^TestChaos$", "./test/chaos")
}

func goTool(ctx context.Context, overlay string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = cmd.Environ()
	if overlay != "" { // in the environment, so that the harness builds the services with it
		cmd.Env = append(cmd.Env, "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -overlay="+overlay))
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return out, fmt.Errorf("go %s: %w", args[0], err)
	}
	return out, err
}

// tail is the end of what a run printed.
func tail(out []byte) []byte { return out[max(0, len(out)-4000):] }
