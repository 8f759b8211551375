package mutants

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pymessage/test/chaos"
)

const root = "../../.."

// TestEveryMutantAppliesToTheCode keeps the patches from rotting. Who changes the code
// that one is about makes it anew: apply it by hand, and write what `git diff -U2`
// says below its heading.
func TestEveryMutantAppliesToTheCode(t *testing.T) {
	t.Parallel()
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			if _, err := m.Overlay(root, folder); err != nil {
				t.Fatal(err)
			}
			for _, file := range m.files {
				if _, err := parser.ParseFile(token.NewFileSet(), filepath.Join(folder, file), nil, 0); err != nil {
					t.Error(err)
				}
			}
			for _, rule := range m.Found {
				if !slices.Contains(chaos.Rules, chaos.Rule(rule)) {
					t.Errorf("there is no rule %q", rule)
				}
			}
		})
	}
}

func TestAPatchThatDoesNotApplyIsAnError(t *testing.T) {
	t.Parallel()
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	m := all[0]
	m.patch = strings.ReplaceAll(m.patch, "\n-", "\n-not there ")
	m.patch = strings.ReplaceAll(m.patch, "\n ", "\n not there ")
	if _, err := m.Overlay(root, t.TempDir()); err == nil {
		t.Error("no error")
	}
}
