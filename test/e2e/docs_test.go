package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pymessage/internal/service"
	"pymessage/services/accounts"
	"pymessage/services/gateway"
	"pymessage/services/social"
)

// operations is docs/operations.md.
func operations(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// rows are the rows of the table under a heading of docs/operations.md.
func rows(t *testing.T, heading string) []string {
	t.Helper()
	_, section, ok := strings.Cut(operations(t), "\n"+heading+"\n")
	if !ok {
		t.Fatalf("docs/operations.md has no %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n#")
	var out []string
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "| `") {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}

func TestEverySettingIsDocumented(t *testing.T) {
	t.Parallel()

	for heading, settings := range map[string]any{
		"### Settings of the gateway": &gateway.Config{}, "### Settings of accounts": &accounts.Config{},
		"### Settings of social": &social.Config{}, "### Settings of the commands on a database": &service.DatabaseSettings{},
	} {
		var want []string
		for _, s := range service.Settings(settings) {
			value := "`" + s.Default + "`"
			switch {
			case s.Required:
				value = "required"
			case s.Default == "":
				value = "empty"
			}
			want = append(want, fmt.Sprintf("| `%s` | %s | %s |", s.Name, value, s.Help))
		}
		if diff := cmp.Diff(want, rows(t, heading)); diff != "" {
			t.Errorf("%s (-code +docs):\n%s\nthe code says:\n%s", heading, diff, strings.Join(want, "\n"))
		}
	}
}

func TestEveryMetricIsDocumented(t *testing.T) {
	t.Parallel()
	d := deployment(t)

	join(t, d.URL(), 2, "metrics") // the HTTP metrics begin with the first request
	for _, s := range d.Services() {
		if s.Kind != "gateway" {
			get(t, s.PublicURL+"/get_user")
		}
	}
	found := map[string]bool{}
	for _, s := range d.Services() {
		_, body := get(t, s.OpsURL+"/metrics")
		for line := range strings.Lines(body) {
			if help, ok := strings.CutPrefix(line, "# HELP pymessage_"); ok {
				name, text, _ := strings.Cut(strings.TrimSpace(help), " ")
				found[fmt.Sprintf("| `pymessage_%s` | %s |", name, text)] = true
			}
		}
	}
	var want []string
	for row := range found {
		want = append(want, row)
	}
	slices.Sort(want)
	got := slices.Sorted(slices.Values(rows(t, "## Metrics")))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-code +docs):\n%s\nthe code says:\n%s", diff, strings.Join(want, "\n"))
	}
}

// TestTheShellInTheDocsWorks pastes it twice, with a name of its own.
func TestTheShellInTheDocsWorks(t *testing.T) {
	t.Parallel()
	d := deployment(t)

	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "rest.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n```sh\n")
	script, _, _ := strings.Cut(rest, "\n```\n")
	name := uniqueName("carol")
	script = strings.NewReplacer("http://localhost:6969", d.URL(), `"carol"`, `"`+name+`"`).Replace(script)
	for _, first := range []string{`{"user":{"id":`, `{"error":{"code":"conflict","message":"username is taken"}}`} {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", script).CombinedOutput()
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		if err != nil || len(lines) != 3 || !strings.HasPrefix(lines[0], first) || lines[2] != `{"friends":[]}` ||
			!strings.Contains(lines[1], `"username":"`+name+`","created_at":`) {
			t.Errorf("got %v\n%s", err, out)
		}
	}
}

// TestTheBotInTheReadmeWorks runs it as a reader would, with a name of its own.
func TestTheBotInTheReadmeWorks(t *testing.T) {
	t.Parallel()
	d := deployment(t)

	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n```go\n")
	program, _, _ := strings.Cut(rest, "\n```\n")
	name := uniqueName("parrot")
	program = strings.NewReplacer("ws://localhost:6969/", d.URL(), `"parrot"`, `"`+name+`"`).Replace(program)
	source, bot := filepath.Join(t.TempDir(), "bot.go"), filepath.Join(t.TempDir(), "bot")
	if err := os.WriteFile(source, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bot, source)
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for range 2 { // the second time there is an account
		run := exec.CommandContext(t.Context(), bot)
		if err := run.Start(); err != nil {
			t.Fatal(err)
		}
		id := 0
		eventually(t, "the bot has an account", func() bool {
			query(t, d, `SELECT coalesce(max(id), 0) FROM accounts.users WHERE username = $1`, []any{name}, &id)
			return id > 0
		})
		alice := join(t, d.URL(), 2, "alice")
		alice.says(id, "Pieces of eight!")
		alice.hears(id, "Pieces of eight!")
		if err := run.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = run.Wait() // it was killed
	}
}
