package deploy_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
)

// instruction is one of a Dockerfile.
type instruction struct{ name, arguments string }

// stage is a part of a Dockerfile that begins with FROM.
type stage struct {
	name, from   string
	instructions []instruction
}

// stages reads the Dockerfile. It knows what our own uses: comments on lines of
// their own and lines that end with a backslash.
func stages(t *testing.T) map[string]stage {
	t.Helper()
	text := regexp.MustCompile(`(?m)^\s*#.*\n`).ReplaceAllString(read(t, "Dockerfile"), "")
	text = strings.ReplaceAll(text, "\\\n", " ")
	out := map[string]stage{}
	var current stage
	for line := range strings.Lines(text) {
		name, arguments, _ := strings.Cut(strings.TrimSpace(line), " ")
		arguments = strings.Join(strings.Fields(arguments), " ")
		switch name {
		case "":
			continue
		case "FROM":
			m := regexp.MustCompile(`^(?:--platform=\S+ )?(\S+) AS (\S+)$`).FindStringSubmatch(arguments)
			if m == nil {
				t.Fatalf("FROM %s: want FROM image AS name", arguments)
			}
			current = stage{from: m[1], name: m[2]}
		default:
			current.instructions = append(current.instructions, instruction{name, arguments})
		}
		out[current.name] = current
	}
	return out
}

// all lists the arguments of every instruction of that name, those of the stages
// below first.
func (s stage) all(of map[string]stage, name string) []string {
	var out []string
	if below, ok := of[s.from]; ok {
		out = below.all(of, name)
	}
	for _, i := range s.instructions {
		if i.name == name {
			out = append(out, i.arguments)
		}
	}
	return out
}

// buildCommand is the one that makes the programs.
func buildCommand(t *testing.T) string {
	t.Helper()
	of := stages(t)
	commands := slices.DeleteFunc(of["build"].all(of, "RUN"), func(c string) bool { return !strings.Contains(c, "go build") })
	if len(commands) != 1 {
		t.Fatalf("commands that build: %v; want one", commands)
	}
	return commands[0]
}

func TestDockerfileBuildsThePrograms(t *testing.T) {
	t.Parallel()
	command := buildCommand(t)
	for _, p := range programs {
		folder := "./services/" + p.name + "/cmd/" + p.name
		if !slices.Contains(strings.Fields(command), folder) {
			t.Errorf("it does not build %s", folder)
		}
		if name := packageName(t, filepath.Join(root, folder, "main.go")); name != "main" {
			t.Errorf("%s is package %s", folder, name)
		}
	}
	for _, part := range []string{"CGO_ENABLED=0", "-trimpath", "-o /out/"} {
		if !strings.Contains(command, part) {
			t.Errorf("it builds without %s", part)
		}
	}
}

func packageName(t *testing.T, file string) string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.PackageClauseOnly)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Name.Name
}

func TestDockerfileStampsVariablesThatExist(t *testing.T) {
	t.Parallel()
	of := stages(t)
	arguments := of["build"].all(of, "ARG")
	stamped := regexp.MustCompile(`-X pymessage/(\S+)\.(\w+)=\$(\w+)`).FindAllStringSubmatch(buildCommand(t), -1)
	if len(stamped) != 2 {
		t.Errorf("stamped: %v; want version and commit", stamped)
	}
	for _, m := range stamped {
		if !declares(t, filepath.Join(root, m[1]), m[2]) {
			t.Errorf("%s has no string variable %s", m[1], m[2])
		}
		if !slices.ContainsFunc(arguments, func(a string) bool { return strings.HasPrefix(a, m[3]+"=") }) {
			t.Errorf("%s is no build argument with a default", m[3])
		}
	}
}

// declares says whether the package in dir has a variable with a string as its
// value, which is what the linker can replace.
func declares(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == 1 && v.Names[0].Name == name {
				literal, isLiteral := v.Values[0].(*ast.BasicLit)
				found = found || isLiteral && literal.Kind == token.STRING
			}
			return true
		})
	}
	return found
}

func TestImagesHaveTheProgramAndNothingToAttackItWith(t *testing.T) {
	t.Parallel()
	of := stages(t)
	for _, p := range programs {
		s, ok := of[p.name]
		if !ok {
			t.Errorf("there is no stage %s", p.name)
			continue
		}
		if below := of[s.from]; below.from != "scratch" || len(s.all(of, "RUN")) > 0 {
			t.Errorf("%s is made of %s, %s, %v", p.name, s.from, below.from, s.all(of, "RUN"))
		}
		user, _, _ := strings.Cut(strings.Join(s.all(of, "USER"), " "), ":")
		if id, err := strconv.Atoi(user); err != nil || id == 0 {
			t.Errorf("%s runs as %q, want the number of a user who is not root", p.name, user)
		}
		if got := s.all(of, "ENTRYPOINT"); !slices.Equal(got, []string{`["/` + p.name + `"]`}) {
			t.Errorf("%s starts %v", p.name, got)
		}
		if got := s.all(of, "HEALTHCHECK"); len(got) != 1 || !strings.HasSuffix(got[0], ` CMD ["/`+p.name+`", "ready"]`) {
			t.Errorf("%s checks its health by %v", p.name, got)
		}
		if !slices.Contains(s.all(of, "COPY"), "--from=build /out/"+p.name+" /"+p.name) {
			t.Errorf("%s copies %v", p.name, s.all(of, "COPY"))
		}
	}
}

func TestImagesRunAsTheUserOfTheManifests(t *testing.T) {
	t.Parallel()
	of := stages(t)
	for _, c := range render(t, manifests+"/base").servers() {
		s := c.workload.template.Spec.SecurityContext
		want := strconv.FormatInt(*s.RunAsUser, 10) + ":" + strconv.FormatInt(*s.RunAsGroup, 10)
		if got := of[c.program.name].all(of, "USER"); !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %v in the image, %s in Kubernetes", c.program.name, got, want)
		}
	}
}

func TestImagesExposeThePortsOfTheCode(t *testing.T) {
	t.Parallel()
	of := stages(t)
	for _, p := range programs {
		var got, want []int
		for _, port := range strings.Fields(strings.Join(of[p.name].all(of, "EXPOSE"), " ")) {
			got = append(got, int(number(t, port)))
		}
		for _, port := range p.ports(t, nil) {
			want = append(want, port)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s exposes %v, listens on %v", p.name, got, want)
		}
	}
}

func TestComposeBuildsStagesOfTheDockerfile(t *testing.T) {
	t.Parallel()
	of := stages(t)
	arguments := strings.Join(of["build"].all(of, "ARG"), " ") + " GO_IMAGE="
	eachComposeServer(t, compose(t), func(s types.ServiceConfig, p program) {
		if _, ok := of[s.Build.Target]; !ok || s.Build.Dockerfile != "Dockerfile" {
			t.Errorf("%s builds %s of %s", s.Name, s.Build.Target, s.Build.Dockerfile)
		}
		for name := range s.Build.Args {
			if !strings.Contains(arguments, name+"=") {
				t.Errorf("%s: the Dockerfile has no argument %s", s.Name, name)
			}
		}
	})
}

func TestGoOfTheImageIsThatOfTheModule(t *testing.T) {
	t.Parallel()
	module := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "go.mod"))
	image := regexp.MustCompile(`(?m)^ARG GO_IMAGE=(\S+)$`).FindStringSubmatch(read(t, "Dockerfile"))
	if module == nil || image == nil || stages(t)["build"].from != "$GO_IMAGE" || !strings.HasPrefix(image[1], "golang:"+module[1]+"-") {
		t.Fatalf("image %v, go.mod wants %v", image, module)
	}
	eachComposeServer(t, compose(t), func(s types.ServiceConfig, _ program) {
		if got := s.Build.Args["GO_IMAGE"]; got == nil || *got != image[1] {
			t.Errorf("%s is built with another image than %s", s.Name, image[1])
		}
	})
}

// sources are the packages of this module that the programs are made of.
type source struct {
	Dir        string
	EmbedFiles []string
}

func sources(t *testing.T) []source {
	t.Helper()
	arguments := []string{"list", "-deps", "-json=Dir,EmbedFiles,Standard,Module"}
	for _, p := range programs {
		arguments = append(arguments, "./services/"+p.name+"/cmd/"+p.name)
	}
	cmd := exec.CommandContext(t.Context(), "go", arguments...)
	cmd.Dir = root
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %v: %v", arguments, err)
	}
	var out []source
	for decoder := json.NewDecoder(strings.NewReader(string(text))); decoder.More(); {
		var p struct {
			source
			Module *struct{ Main bool }
		}
		if err := decoder.Decode(&p); err != nil {
			t.Fatal(err)
		}
		if p.Module != nil && p.Module.Main {
			out = append(out, p.source)
		}
	}
	return out
}

func TestBuildContextHasAllThatIsBuiltAndNoSecrets(t *testing.T) {
	t.Parallel()
	sent, excluded := buildContext(t)
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	all := sources(t)
	if len(all) < len(programs) {
		t.Fatalf("packages: %v", all)
	}
	for _, s := range all {
		relative, err := filepath.Rel(top, s.Dir)
		if err != nil {
			t.Fatal(err)
		}
		if first, _, _ := strings.Cut(relative, "/"); !slices.Contains(sent, first) {
			t.Errorf("%s is not in the build context %v", relative, sent)
		}
		for _, file := range s.EmbedFiles {
			if excluded(filepath.Join(relative, file)) {
				t.Errorf("%s/%s is embedded, but not in the build context", relative, file)
			}
		}
	}
	of := stages(t)
	copied := strings.Fields(strings.Join(of["build"].all(of, "COPY"), " "))
	for _, name := range sent {
		if !slices.Contains(copied, name) || !fs.ValidPath(name) || strings.HasPrefix(name, ".") {
			t.Errorf("%s is sent to the builder, which copies %v", name, copied)
		}
	}
}

// buildContext reads .dockerignore, which begins with everything and then lists what
// is sent, and what of that is not.
func buildContext(t *testing.T) (sent []string, excluded func(path string) bool) {
	t.Helper()
	var patterns []string
	for line := range strings.Lines(read(t, ".dockerignore")) {
		line = strings.TrimSpace(line)
		switch {
		case line == "", line == "*", strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "!"):
			sent = append(sent, line[1:])
		default:
			patterns = append(patterns, strings.TrimPrefix(line, "**/"))
		}
	}
	if !regexp.MustCompile(`(?m)\A(#.*\n)*\*$`).MatchString(read(t, ".dockerignore")) {
		t.Error(".dockerignore does not begin with everything")
	}
	return sent, func(path string) bool {
		return slices.ContainsFunc(strings.Split(path, "/"), func(part string) bool {
			return slices.ContainsFunc(patterns, func(p string) bool { ok, _ := filepath.Match(p, part); return ok })
		})
	}
}
