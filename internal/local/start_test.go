package local

import (
	"context"
	"net"
	"os"
	"testing"
)

func TestTakenPortIsSaidBeforeAnythingIsStarted(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	o, _ := options(t)
	o.ListenAddr = l.Addr().String()
	_, err = Start(t.Context(), o)
	if err == nil || err.Error() != "port "+port+" is taken, by another program or another run; stop it, or choose another, as in LISTEN_ADDR=:7000" {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(o.DataDir); err == nil {
		t.Error("the data folder was made")
	}
	o.ListenAddr = "nonsense"
	if _, err = Start(t.Context(), o); !says(err, `LISTEN_ADDR "nonsense" cannot be used`) {
		t.Errorf("got %v", err)
	}
}

func TestFailedStartSaysWhyAndLeavesNothingRunning(t *testing.T) {
	t.Parallel()
	for fault, want := range map[string]string{
		"accounts migrate": "accounts migrate: exit status 3, accounts: settings are wrong: FAKE_FAULT is set; its log is ",
		"gateway":          "gateway-1 ended before it was ready: exit status 3, gateway: settings are wrong: FAKE_FAULT is set; its log is ",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			o, said := options(t)
			o.Gateways = 1
			o.Environ = append(o.Environ, "FAKE_FAULT="+fault)
			_, err := Start(t.Context(), o)
			if !says(err, want) {
				t.Errorf("got %v", err)
			}
			if len(said.lines) > 0 {
				t.Errorf("it reported %q", said.lines)
			}
			o.Environ = o.Environ[:2] // the folder is free again
			start(t, o)
		})
	}
}

func TestMissingBinaryIsSaid(t *testing.T) {
	t.Parallel()
	o, _ := options(t)
	o.BinDir = t.TempDir()
	if _, err := Start(t.Context(), o); !says(err, "build it with `make build`") {
		t.Errorf("got %v", err)
	}
}

func TestInterruptedStartLeavesNothingRunning(t *testing.T) {
	t.Parallel()
	o, _ := options(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, o); err == nil {
		t.Error("it started")
	}
	start(t, o)
}

func TestSecondRunInTheSameFolderIsRefused(t *testing.T) {
	t.Parallel()
	o, _ := options(t)
	start(t, o)
	if _, err := Start(t.Context(), o); !says(err, "is used by another run") {
		t.Errorf("got %v", err)
	}
}
