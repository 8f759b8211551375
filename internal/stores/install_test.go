package stores

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAdvice(t *testing.T) {
	t.Parallel()
	for program, want := range map[string]string{
		"apt-get": "install it with: sudo apt-get install postgresql redis-server",
		"dnf":     "install it with: sudo dnf install postgresql-server redis",
		"apk":     "install it with: sudo apk add postgresql redis",
		"pacman":  "install it with: sudo pacman -Sy postgresql redis",
		"brew":    "install it with: brew install postgresql@17 redis",
		"":        "install Postgres (14 or later) and Redis, or set POSTGRES_URL and REDIS_URL",
	} {
		if got := managerNamed(program).advice(); got != want {
			t.Errorf("%s: %q, want %q", program, got, want)
		}
	}
}

func managerNamed(program string) *manager {
	for i := range managers {
		if managers[i].program == program {
			return &managers[i]
		}
	}
	return nil
}

func TestWhoMayInstall(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		program string
		uid     int
		want    bool
	}{
		{"apt-get", 0, true},
		{"apt-get", 1000, false},
		{"brew", 0, false},
		{"brew", 1000, true},
	} {
		if got := managerNamed(c.program).allowed(c.uid); got != c.want {
			t.Errorf("%s as %d: %v", c.program, c.uid, got)
		}
	}
}

// fakeManager logs its arguments into a file, and knows only some packages.
func fakeManager(t *testing.T, unknown string) (m *manager, calls func() string) {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "calls")
	script := "#!/bin/sh\necho \"$*\" >> '" + log + "'\necho \"out of $1\"\ncase \"$*\" in *" + unknown + "*) exit 1;; esac\n"
	program := filepath.Join(dir, "manager")
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	m = &manager{program: program, install: []string{"add", "-y"}, redis: []string{"redis", "valkey"}}
	return m, func() string {
		text, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
}

func TestInstallTriesTheNextNameAndTellsWhatItDoes(t *testing.T) {
	t.Parallel()
	m, calls := fakeManager(t, "redis")
	var said bytes.Buffer
	if err := m.installFirst(t.Context(), &said, nameRedis); err != nil {
		t.Fatal(err)
	}
	if got := calls(); got != "add -y redis\nadd -y valkey\n" {
		t.Errorf("ran %q", got)
	}
	for _, want := range []string{"Redis is missing: installing the package redis\n", "+ " + m.program + " add -y valkey\n", "out of add\n"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("it did not say %q but %q", want, said.String())
		}
	}
}

func TestInstallFailsWhenNoNameIsKnown(t *testing.T) {
	t.Parallel()
	m, _ := fakeManager(t, "add")
	err := m.installFirst(t.Context(), &bytes.Buffer{}, nameRedis)
	if !says(err, "install Redis: "+m.program+" add: exit status 1") {
		t.Errorf("got %v", err)
	}
}

func TestInstallDoesNothingWhenAllIsThere(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	if err := Install(t.Context(), &said); err != nil || said.Len() > 0 {
		t.Errorf("said %q, %v", said.String(), err)
	}
}
