package stores

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// oldestMajor is the oldest Postgres that is still maintained by its makers.
const oldestMajor = 14

// postgresFolders are where packages put the server's programs: Debian, the
// Postgres project's own packages, Alpine, Homebrew (Apple and Intel),
// Postgres.app, built from source.
var postgresFolders = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/usr/libexec/postgresql*",
	"/opt/homebrew/opt/postgresql*/bin",
	"/usr/local/opt/postgresql*/bin",
	"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
	"/usr/local/pgsql/bin",
	"/usr/local/bin",
	"/opt/homebrew/bin",
}

// redisPrograms are Redis and its free successor, which speak the same protocol.
var redisPrograms = []string{"redis-server", "valkey-server"}

// redisFolders are looked at beside PATH.
var redisFolders = []string{
	"/usr/bin", "/usr/sbin", "/usr/local/bin", "/opt/homebrew/bin", "/home/linuxbrew/.linuxbrew/bin",
}

// programs is one installed Postgres.
type programs struct {
	dir   string
	major int
}

func (p programs) path(name string) string { return filepath.Join(p.dir, name) }

// FindPostgres says whether a Postgres server is installed, and where.
func FindPostgres() (dir string, err error) {
	p, err := choose(installedPostgres(), 0, "")
	return p.dir, err
}

// FindRedis says whether a Redis server is installed, and where.
func FindRedis() (file string, err error) {
	for _, name := range redisPrograms {
		if file, err := exec.LookPath(name); err == nil {
			return file, nil
		}
		for _, dir := range redisFolders {
			if file := filepath.Join(dir, name); executable(file) {
				return file, nil
			}
		}
	}
	return "", fmt.Errorf("redis-server is %w: %s", ErrNotInstalled, howToInstall())
}

// installedPostgres lists what is installed: that of PATH first, then the newest.
func installedPostgres() []programs {
	var all []programs
	for _, dir := range postgresCandidates() {
		p, ok := inspect(dir)
		if ok && !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all
}

func postgresCandidates() []string {
	var dirs []string
	if file, err := exec.LookPath("initdb"); err == nil {
		if file, err = filepath.EvalSymlinks(file); err == nil {
			dirs = append(dirs, filepath.Dir(file))
		}
	}
	var others []string
	for _, pattern := range postgresFolders {
		matches, _ := filepath.Glob(pattern) // fails only for a malformed pattern
		others = append(others, matches...)
	}
	slices.SortStableFunc(others, func(a, b string) int { return cmp.Compare(numberIn(b), numberIn(a)) })
	return append(dirs, others...)
}

// inspect looks for a whole and usable Postgres in dir.
func inspect(dir string) (programs, bool) {
	p := programs{dir: dir}
	if !executable(p.path("initdb")) || !executable(p.path("postgres")) {
		return p, false
	}
	out, err := exec.Command(p.path("postgres"), "--version").Output()
	if err != nil {
		return p, false
	}
	p.major = majorVersion(string(out))
	return p, p.major >= oldestMajor
}

func executable(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

var firstNumber = regexp.MustCompile(`\d+`)

// numberIn returns the first number in a path such as /usr/lib/postgresql/15/bin.
func numberIn(path string) int {
	n, _ := strconv.Atoi(firstNumber.FindString(path)) // 0 when there is none
	return n
}

// majorVersion reads 15 from "postgres (PostgreSQL) 15.13 (Debian 15.13-0)" and
// from the PG_VERSION file of a data folder; 0 if there is none.
func majorVersion(text string) int { return numberIn(text) }

// choose picks the programs for a data folder: made by version made (0 for a new
// one), which no other version can read.
func choose(installed []programs, made int, folder string) (programs, error) {
	if len(installed) == 0 {
		return programs{}, fmt.Errorf("the Postgres server (initdb, postgres) is %w: %s", ErrNotInstalled, howToInstall())
	}
	if made == 0 {
		return installed[0], nil
	}
	for _, p := range installed {
		if p.major == made {
			return p, nil
		}
	}
	return programs{}, fmt.Errorf("the data folder %s was made by Postgres %d, but Postgres %d is installed: "+
		"install Postgres %d, or move the folder away to begin with an empty one",
		folder, made, installed[0].major, made)
}
