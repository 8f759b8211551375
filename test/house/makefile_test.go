package house

import (
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMakeFuzzKnowsEveryTarget: one that is not in the Makefile's list is never
// run with new input.
func TestMakeFuzzKnowsEveryTarget(t *testing.T) {
	t.Parallel()
	var want []string
	for _, file := range goFiles(t) {
		if isTest(file) {
			for _, name := range parse(t, filepath.Join(root, file), nil).fuzzTargets() {
				want = append(want, "./"+path.Dir(file)+":"+name)
			}
		}
	}
	text, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	got := fuzzList(string(text))
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("FUZZ in the Makefile has\n%s\nthe tests have\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func (s source) fuzzTargets() []string {
	var names []string
	for _, d := range s.tree.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Fuzz") {
			names = append(names, f.Name.Name)
		}
	}
	return names
}

// fuzzList reads the variable FUZZ of a Makefile, whose lines end with backslashes.
func fuzzList(makefile string) []string {
	_, list, _ := strings.Cut(strings.ReplaceAll(makefile, "\\\n", " "), "\nFUZZ := ")
	line, _, _ := strings.Cut(list, "\n")
	return strings.Fields(line)
}
