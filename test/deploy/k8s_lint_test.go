package deploy_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"testing"
)

// accepted are critical findings of the linter that we want as it is.
var accepted = []string{
	// A limit makes processes wait while processors are idle, which is latency; the
	// requests share them fairly.
	"--ignore-container-cpu-limit",
	// Tags are pinned and never moved, so that a node need not ask the registry to
	// start a pod.
	"--ignore-test=container-image-pull-policy",
}

// TestTheLinterFindsNothingCritical runs kube-score, which needs older types of
// Kubernetes than we and so has a module of its own in lint/.
func TestTheLinterFindsNothingCritical(t *testing.T) {
	t.Parallel()
	for _, overlay := range []string{"local", "production"} {
		args := append([]string{"-C", "lint", "tool", "kube-score", "score", "--kubernetes-version=v1.32", "--output-format=json"}, accepted...)
		cmd := exec.CommandContext(t.Context(), "go", append(args, "-")...)
		cmd.Stdin = bytes.NewReader(render(t, manifests+"/overlays/"+overlay).text)
		var out, said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &said
		err := cmd.Run() // it ends with 1 where it finds something
		var objects []struct {
			ObjectName string `json:"object_name"`
			Checks     []struct {
				Check    struct{ Name string }
				Grade    int
				Skipped  bool
				Comments []struct{ Path, Summary string }
			}
		}
		if json.Unmarshal(out.Bytes(), &objects) != nil || len(objects) == 0 {
			t.Fatalf("%s: kube-score: %v\n%s", overlay, err, said.String())
		}
		for _, o := range objects {
			for _, c := range o.Checks {
				if c.Grade <= critical && !c.Skipped {
					t.Errorf("%s: %s: %s: %v", overlay, o.ObjectName, c.Check.Name, c.Comments)
				}
			}
		}
	}
}

// critical is kube-score's grade.
const critical = 1
