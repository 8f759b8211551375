package ops

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pymessage/internal/local"
)

// kinds of programs.
var kinds = []string{"accounts", "social", "gateway"}

// TestNeighbouringVersionsRunSideBySide lets people chat while every program is
// replaced by the next version's, one by one, and then by the earlier one's again: by
// then on the newer schema. So each pair of old and new meets in both directions.
func TestNeighbouringVersionsRunSideBySide(t *testing.T) {
	t.Parallel()
	earlier := filepath.Join(t.TempDir(), "earlier")
	buildEarlier(t, earlier)
	present := t.TempDir() // what the deployment starts
	install(t, earlier, present, kinds...)
	d := deploy(t, local.Options{Gateways: 2, BinDir: present})
	var urls []string
	for _, g := range d.Gateways() {
		urls = append(urls, socketURL(g.PublicURL))
	}
	crowd := gather(t, 8, urls...) // partners are on different gateways
	quiet := crowd.talk(100 * time.Millisecond)
	newcomers(t, d, "at first", crowd.people[0].id)

	roll := func(from string, names ...string) {
		t.Helper()
		for _, name := range names {
			kind, _, _ := strings.Cut(name, "-")
			install(t, from, present, kind)
			replace(t, d, name)
			crowd.goOn("after the change of "+name, 5)
			newcomers(t, d, name, crowd.people[0].id)
		}
	}
	install(t, binDir, present, "accounts", "social")
	for _, service := range []string{"accounts", "social"} {
		if err := d.Migrate(t.Context(), service); err != nil {
			t.Fatal(err)
		}
	}
	crowd.goOn("on the new schema", 5)
	roll(binDir, "social", "gateway-1", "accounts", "gateway-2")
	roll(earlier, "gateway-2", "social", "accounts", "gateway-1")
	quiet()
	crowd.check()
}

// replace restarts a program, with the binary that is there now.
func replace(t *testing.T, d *local.Deployment, name string) {
	t.Helper()
	for _, step := range []func(context.Context, string) error{d.Terminate, d.Start, d.Ready} {
		if err := step(t.Context(), name); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

// newcomers make accounts, log in and ask for friendship, by version 1.
func newcomers(t *testing.T, d *local.Deployment, when string, friend int) {
	t.Helper()
	name := fmt.Sprint("visitor", time.Now().UnixNano())
	if err := visit(t.Context(), d, name, friend); err != nil {
		t.Errorf("%s: %v", when, err)
	}
}

// install puts programs where the deployment finds them at their next start; those
// that run keep the files that they have.
func install(t *testing.T, from, into string, programs ...string) {
	t.Helper()
	for _, name := range programs {
		text, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		next := filepath.Join(into, name+".next")
		if err := os.WriteFile(next, text, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(into, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// buildEarlier makes the programs of the version before: of the latest tag before
// this commit, or without tags of the commit before. Where the history does not go
// back that far (a clone of depth 1, a source archive) it can only be this version
// again: then two generations of processes meet, but not two versions.
func buildEarlier(t *testing.T, into string) {
	t.Helper()
	revision, ok := earlierRevision()
	if !ok {
		t.Log("THERE IS NO EARLIER COMMIT HERE: this version runs beside itself. Fetch the history (git fetch --unshallow) to test neighbours.")
		if err := os.MkdirAll(into, 0o755); err != nil {
			t.Fatal(err)
		}
		install(t, binDir, into, kinds...)
		return
	}
	tree := t.TempDir()
	archive, err := git("archive", "--format=tar", revision)
	if err != nil {
		t.Fatalf("git archive %s: %v", revision, err)
	}
	unpack := exec.CommandContext(t.Context(), "tar", "-x", "-C", tree)
	unpack.Stdin = bytes.NewReader(archive)
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("unpacking %s: %v\n%s", revision, err, out)
	}
	if err := build(tree, into); err != nil {
		t.Fatal(err)
	}
	t.Logf("the earlier version is %s", revision)
}

func earlierRevision() (string, bool) {
	if tag, err := git("describe", "--tags", "--abbrev=0", "HEAD~1"); err == nil {
		return strings.TrimSpace(string(tag)), true
	}
	_, err := git("rev-parse", "--verify", "--quiet", "HEAD~1^{tree}")
	return "HEAD~1", err == nil
}

func git(args ...string) ([]byte, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = root
	return cmd.Output()
}
