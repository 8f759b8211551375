package service_test

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pymessage/internal/service"
)

// sampleVariable makes the test binary be the program sample.
const sampleVariable = "PYMESSAGE_TEST_SAMPLE"

// sample is a service that does nothing but stop in good order.
func sample() int {
	var cfg settings
	return service.Main(service.Program{
		Name: "sample", Settings: &cfg,
		Serve: func(ctx context.Context, p *service.Process) error {
			return p.Run(ctx, func(ctx context.Context) error {
				<-ctx.Done()
				p.Log.Info("task stops")
				return ctx.Err()
			})
		},
	}, nil, os.Environ(), os.Stdout, os.Stderr)
}

func TestSIGTERMStopsAProcessInGoodOrderWithStatusZero(t *testing.T) {
	t.Parallel()

	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), sampleVariable+"=1", "OPS_ADDR="+freeAddr(t), "DRAIN_PAUSE=10ms", "KEY=0123456789abcdef")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var line struct{ Service, Msg string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil || line.Service != "sample" {
			t.Errorf("not a line of the log: %s", lines.Text())
		}
		said = append(said, line.Msg)
		if line.Msg == "ready" {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	want := []string{"starting", "ready", "stopping", "task stops", "serve finished"}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
