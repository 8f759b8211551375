// Package house checks rules of the code that no linter knows.
package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// root is the folder of go.mod, seen from here.
const root = "../.."

// rule forbids calls in some files.
type rule struct {
	why string
	// calls are forbidden: functions as the import path and the name, methods of
	// whatever as a dot and the name.
	calls []string
	// in says which files it is about, by their path from the root.
	in func(path string) bool
}

var rules = []rule{
	{
		why: "only programs end the process and read its environment; others are told, and return",
		calls: []string{
			"os.Exit", "os.Getenv", "os.LookupEnv", "os.Environ", "os.ExpandEnv",
			"syscall.Exit", "syscall.Getenv", "syscall.Environ",
		},
		// testenv ends the test process, and TEST_POSTGRES_URL reaches it in no
		// other way.
		in: func(path string) bool {
			return !isTest(path) && !inProgram(path) && !strings.HasPrefix(path, "internal/testenv/")
		},
	},
	{
		why:   "a test that cannot run has to fail: nobody reads what was skipped",
		calls: []string{".Skip", ".Skipf", ".SkipNow"},
		in:    isTest,
	},
}

func isTest(path string) bool { return strings.HasSuffix(path, "_test.go") }

// inProgram says whether a file belongs to a main: cmd/NAME or services/NAME/cmd/NAME.
func inProgram(path string) bool {
	return slices.Contains(strings.Split(filepath.Dir(path), "/"), "cmd")
}

func TestForbiddenCalls(t *testing.T) {
	t.Parallel()
	for _, path := range goFiles(t) {
		text := parse(t, filepath.Join(root, path), nil)
		for _, r := range rules {
			if !r.in(path) {
				continue
			}
			for _, found := range text.calls(r.calls) {
				t.Errorf("%s:%d: %s: %s", path, found.line, found.call, r.why)
			}
		}
	}
}

// goFiles are all Go files, by their path from the root.
func goFiles(t *testing.T) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir // .git, .data
		case !entry.IsDir() && strings.HasSuffix(path, ".go"):
			path, err = filepath.Rel(root, path)
			paths = append(paths, filepath.ToSlash(path))
		}
		return err
	})
	if err != nil || len(paths) == 0 {
		t.Fatalf("found %d files: %v", len(paths), err)
	}
	return paths
}

// source is a parsed file.
type source struct {
	files *token.FileSet
	tree  *ast.File
}

// parse reads a file, or text if there is one.
func parse(t *testing.T, path string, text any) source {
	t.Helper()
	files := token.NewFileSet()
	tree, err := parser.ParseFile(files, path, text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return source{files, tree}
}

// finding is a call that is forbidden.
type finding struct {
	call string
	line int
}

// calls finds the mentions of names in a file. A function that is only named, to
// be called by somebody else, counts as well.
func (s source) calls(names []string) []finding {
	imports := s.imports()
	var found []finding
	ast.Inspect(s.tree, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		call := "." + selector.Sel.Name
		if x, ok := selector.X.(*ast.Ident); ok && imports[x.Name] != "" {
			call = imports[x.Name] + call
		}
		if slices.Contains(names, call) {
			found = append(found, finding{call, s.files.Position(n.Pos()).Line})
		}
		return true
	})
	return found
}

// imports are the import paths of a file by the names that it uses for them.
func (s source) imports() map[string]string {
	imports := map[string]string{}
	for _, spec := range s.tree.Imports {
		path := strings.Trim(spec.Path.Value, `"`)
		name := path[strings.LastIndex(path, "/")+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		imports[name] = path
	}
	return imports
}

func TestRulesFindWhatTheyForbid(t *testing.T) {
	t.Parallel()
	const text = `package p
import (
	system "os"
	"example.org/os"
)
func f(t T) {
	system.Exit(1)
	read(system.Getenv)
	os.Exit(1)
	t.Skip()
}`
	s := parse(t, "p.go", text)
	want := []finding{{"os.Exit", 7}, {"os.Getenv", 8}}
	if got := s.calls(rules[0].calls); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := s.calls(rules[1].calls); !slices.Equal(got, []finding{{".Skip", 10}}) {
		t.Errorf("got %v", got)
	}
	for path, want := range map[string]bool{
		"cmd/local/main.go":                      false,
		"services/gateway/cmd/gateway/a.go":      false,
		"services/gateway/server.go":             true,
		"services/gateway/server_test.go":        false,
		"internal/testenv/testenv.go":            false,
		"internal/command/environment.go":        true,
		"services/accounts/cmdline/read.go":      true,
		"services/gateway/cmd/gateway/b_test.go": false,
	} {
		if got := rules[0].in(path); got != want {
			t.Errorf("the first rule is about %s: %v", path, got)
		}
	}
}
