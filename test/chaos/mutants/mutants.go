// Package mutants breaks the code on purpose, in ways that the fault harness is there
// to find. Each mutant is a patch. Its heading says what is wrong then, and the rules
// of package chaos of which one has to be found broken.
package mutants

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed *.patch
var patches embed.FS

// Mutant is one way to break the code.
type Mutant struct {
	Name  string
	Why   string
	Found []string // rules, one of which it breaks
	patch string
	files []string // that it changes, from the root
}

// All are all mutants, by name.
func All() ([]Mutant, error) {
	entries, err := patches.ReadDir(".")
	if err != nil {
		return nil, err
	}
	var all []Mutant
	for _, e := range entries {
		patch, err := patches.ReadFile(e.Name())
		if err != nil {
			return nil, err
		}
		m := parse(strings.TrimSuffix(e.Name(), ".patch"), string(patch))
		if m.Why == "" || len(m.Found) == 0 || len(m.files) == 0 {
			return nil, fmt.Errorf("%s says not why, or not what is found, or changes nothing", e.Name())
		}
		all = append(all, m)
	}
	return all, nil
}

func parse(name, patch string) Mutant {
	m := Mutant{Name: name, patch: patch}
	m.Why, _, _ = strings.Cut(patch, "\n")
	for line := range strings.Lines(patch) {
		line = strings.TrimSpace(line)
		if rule, ok := strings.CutPrefix(line, "Found: "); ok {
			m.Found = append(m.Found, rule)
		}
		if file, ok := strings.CutPrefix(line, "+++ b/"); ok {
			m.files = append(m.files, file)
		}
	}
	return m
}

// Overlay applies the patch to copies, in folder, of the files below root that it
// changes, and gives the file that go's option -overlay takes to see them instead.
// That the patch does not apply is an error.
func (m Mutant) Overlay(root, folder string) (overlay string, err error) {
	root, err = filepath.Abs(root)
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for _, file := range m.files {
		original, changed := filepath.Join(root, file), filepath.Join(folder, file)
		replace[original] = changed
		if err := copyFile(original, changed); err != nil {
			return "", err
		}
	}
	if err := m.apply(folder); err != nil {
		return "", fmt.Errorf("%s.patch does not apply: %w", m.Name, err)
	}
	overlay = filepath.Join(folder, "overlay.json")
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err == nil {
		err = os.WriteFile(overlay, text, 0o644)
	}
	return overlay, err
}

func copyFile(from, to string) error {
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o755)
	}
	if err == nil {
		err = os.WriteFile(to, text, 0o644)
	}
	return err
}

// apply lets git apply the patch, which has to change every file that it names: git
// passes over those that it takes to be outside of its repository.
func (m Mutant) apply(folder string) error {
	before := m.texts(folder)
	cmd := exec.Command("git", "apply", "--whitespace=nowarn", "-")
	cmd.Dir, cmd.Stdin = folder, strings.NewReader(m.patch)
	// Whatever repository is around has nothing to do with it.
	cmd.Env = append(cmd.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(folder))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	for i, text := range m.texts(folder) {
		if text == before[i] {
			return errors.New(m.files[i] + " is as it was")
		}
	}
	return nil
}

// texts are the contents of the files, empty where they cannot be read.
func (m Mutant) texts(folder string) []string {
	out := make([]string, len(m.files))
	for i, file := range m.files {
		text, _ := os.ReadFile(filepath.Join(folder, file))
		out[i] = string(text)
	}
	return out
}
