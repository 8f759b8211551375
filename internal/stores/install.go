package stores

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

const (
	namePostgres = "Postgres"
	nameRedis    = "Redis"
)

// manager is a package manager that we know how to drive.
type manager struct {
	program string
	root    bool     // works for root only; the others refuse root
	refresh []string // brings the list of packages up to date; nil where install does it
	install []string // followed by the package
	env     []string
	// The names of the packages, the first that there is.
	postgres, redis []string
}

var managers = []manager{
	{
		program: "apt-get", root: true,
		refresh:  []string{"update", "-q"},
		install:  []string{"install", "-q", "-y", "--no-install-recommends"},
		env:      []string{"DEBIAN_FRONTEND=noninteractive"},
		postgres: []string{"postgresql"},
		redis:    []string{"redis-server", "valkey-server"},
	},
	{
		program: "dnf", root: true,
		install:  []string{"install", "-y"},
		postgres: []string{"postgresql-server"},
		redis:    []string{"redis", "valkey"},
	},
	{
		program: "apk", root: true,
		install:  []string{"add", "--no-cache"},
		postgres: []string{"postgresql", "postgresql17", "postgresql16"},
		redis:    []string{"redis", "valkey"},
	},
	{
		program: "pacman", root: true,
		install:  []string{"-Sy", "--noconfirm", "--needed"},
		postgres: []string{"postgresql"},
		redis:    []string{"redis", "valkey"},
	},
	{
		program:  "brew",
		install:  []string{"install"},
		postgres: []string{"postgresql@17", "postgresql@16"},
		redis:    []string{"redis"},
	},
}

// Missing names the servers that are not installed.
func Missing() []string {
	var missing []string
	if _, err := FindPostgres(); err != nil {
		missing = append(missing, namePostgres)
	}
	if _, err := FindRedis(); err != nil {
		missing = append(missing, nameRedis)
	}
	return missing
}

// Install installs the servers that are missing through the package manager, and
// says on w what it does. Where it may not (it asks nobody for a password), the
// error says what to install by hand.
//
// A package may start a server of its own, as on Debian. That one is left alone:
// ours have their own data folders and ports.
func Install(ctx context.Context, w io.Writer) error {
	missing := Missing()
	if len(missing) == 0 {
		return nil
	}
	m := packageManager()
	if m == nil || !m.allowed(os.Geteuid()) {
		return fmt.Errorf("%s: %w: %s", strings.Join(missing, " and "), ErrNotInstalled, howToInstall())
	}
	if m.refresh != nil {
		if err := m.run(ctx, w, m.refresh...); err != nil {
			return err
		}
	}
	for _, server := range missing {
		if err := m.installFirst(ctx, w, server); err != nil {
			return err
		}
	}
	if missing = Missing(); len(missing) > 0 {
		return fmt.Errorf("%s is still missing after its package was installed: put its programs into PATH",
			strings.Join(missing, " and "))
	}
	return nil
}

// installFirst installs a server from the first package that can be had.
func (m *manager) installFirst(ctx context.Context, w io.Writer, server string) error {
	var err error
	for _, name := range m.packages(server) {
		fmt.Fprintf(w, "%s is missing: installing the package %s\n", server, name)
		if err = m.run(ctx, w, append(m.install[:len(m.install):len(m.install)], name)...); err == nil {
			return nil
		}
	}
	return fmt.Errorf("install %s: %w", server, err)
}

func (m *manager) packages(server string) []string {
	if server == namePostgres {
		return m.postgres
	}
	return m.redis
}

func (m *manager) run(ctx context.Context, w io.Writer, args ...string) error {
	fmt.Fprintf(w, "+ %s %s\n", m.program, strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, m.program, args...)
	cmd.Env = append(cmd.Environ(), m.env...)
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", m.program, args[0], err)
	}
	return nil
}

// allowed says whether a user may install packages.
func (m *manager) allowed(uid int) bool { return m.root == (uid == 0) }

// packageManager is the first known one of this machine, nil if there is none.
func packageManager() *manager {
	for i := range managers {
		if _, err := exec.LookPath(managers[i].program); err == nil {
			return &managers[i]
		}
	}
	return nil
}

// howToInstall is the sentence for whoever has to do it by hand.
func howToInstall() string { return packageManager().advice() }

func (m *manager) advice() string {
	if m == nil {
		return fmt.Sprintf("install Postgres (%d or later) and Redis, or set POSTGRES_URL and REDIS_URL", oldestMajor)
	}
	args := append(m.install[:1:1], m.postgres[0], m.redis[0])
	command := m.program + " " + strings.Join(args, " ")
	if m.root {
		command = "sudo " + command
	}
	return "install it with: " + command
}
