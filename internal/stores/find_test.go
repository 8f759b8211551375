package stores

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMajorVersion(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)\n": 15,
		"postgres (PostgreSQL) 18beta1\n":                        18,
		"postgres (PostgreSQL) 9.6.24\n":                         9,
		"17\n":                                                   17,
		"9.6\n":                                                  9,
		"":                                                       0,
		"no number":                                              0,
	} {
		if got := majorVersion(text); got != want {
			t.Errorf("majorVersion(%q) = %d, want %d", text, got, want)
		}
	}
}

func TestChooseProgramsForADataFolder(t *testing.T) {
	t.Parallel()
	installed := []programs{{"/usr/bin", 16}, {"/usr/lib/postgresql/17/bin", 17}}
	for _, c := range []struct {
		name      string
		installed []programs
		made      int
		want      int
		fault     string
	}{
		{"a new folder gets the first", installed, 0, 16, ""},
		{"an old folder gets its own version", installed, 17, 17, ""},
		{"an unreadable folder names both versions", installed, 14, 0,
			"the data folder /data was made by Postgres 14, but Postgres 16 is installed: install Postgres 14, or move the folder away"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := choose(c.installed, c.made, "/data")
			if got.major != c.want || !says(err, c.fault) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func says(err error, fault string) bool {
	if fault == "" {
		return err == nil
	}
	return err != nil && strings.Contains(err.Error(), fault)
}

// fakePostgres puts programs of a version into dir.
func fakePostgres(t *testing.T, dir, version string) {
	t.Helper()
	script := "#!/bin/sh\necho 'postgres (PostgreSQL) " + version + "'\n"
	for _, name := range []string{"initdb", "postgres"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func TestInspectWantsAWholePostgresThatIsNotTooOld(t *testing.T) {
	t.Parallel()
	current, old, empty := t.TempDir(), t.TempDir(), t.TempDir()
	fakePostgres(t, current, "16.2")
	fakePostgres(t, old, "9.6.24")
	if p, ok := inspect(current); !ok || p.major != 16 {
		t.Errorf("current: %v, %v", p, ok)
	}
	if p, ok := inspect(old); ok {
		t.Errorf("too old: %v accepted", p)
	}
	if p, ok := inspect(empty); ok {
		t.Errorf("empty: %v accepted", p)
	}
}

func TestPathComesBeforeTheUsualFolders(t *testing.T) {
	dir := t.TempDir()
	fakePostgres(t, dir, "17.1")
	t.Setenv("PATH", dir)
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	if found, err := FindPostgres(); err != nil || found != real {
		t.Errorf("found %s, %v; want %s", found, err, real)
	}
}

func TestRealServersAreFound(t *testing.T) {
	t.Parallel()
	if _, err := FindPostgres(); err != nil {
		t.Error(err)
	}
	if _, err := FindRedis(); err != nil {
		t.Error(err)
	}
	if missing := Missing(); len(missing) > 0 {
		t.Errorf("missing: %v", missing)
	}
}

func TestNothingInstalledSaysHowToGetIt(t *testing.T) {
	t.Parallel()
	_, err := choose(nil, 0, "/data")
	if !errors.Is(err, ErrNotInstalled) || !says(err, "install") {
		t.Errorf("got %v", err)
	}
}

func TestLastLines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		n    int
		want string
	}{
		{"", 3, ""},
		{"one\n", 3, "one"},
		{"one\ntwo\nthree\n", 2, "two\nthree"},
		{"\n\none\ntwo\n\n", 2, "one\ntwo"},
	} {
		if got := lastLines(c.text, c.n); got != c.want {
			t.Errorf("lastLines(%q, %d) = %q, want %q", c.text, c.n, got, c.want)
		}
	}
}

func TestLockOwner(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"123\n/data\n1700000000\n5432\n": 123,
		"":                               0,
		"-5\n":                           0,
		"garbage\n":                      0,
	} {
		if got := lockOwner(text); got != want {
			t.Errorf("lockOwner(%q) = %d, want %d", text, got, want)
		}
	}
}

func TestIsPostgres(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]bool{
		"/usr/lib/postgresql/15/bin/postgres\x00-D\x00/data\x00": true,
		"postgres\x00":             true,
		"/usr/bin/vim\x00postgres": false,
		"":                         false,
	} {
		if got := isPostgres(line); got != want {
			t.Errorf("isPostgres(%q) = %v", line, got)
		}
	}
}

func TestFreePortIsBelowTheOutgoingRange(t *testing.T) {
	t.Parallel()
	port, err := FreePort()
	if err != nil || port < firstPort || port >= lastPort {
		t.Errorf("got %d, %v", port, err)
	}
}
