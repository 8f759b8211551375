// Command gateway runs a pymessage gateway. See docs/operations.md.
package main

import (
	"context"
	"os"

	"pymessage/internal/service"
	"pymessage/services/gateway"
)

// gcPercent is GOGC for many sockets, where the environment says nothing. Most are
// idle: what a gateway needs is their memory, and the default would double it.
const gcPercent = 50

func main() {
	service.CalmMonitor(os.Args, os.Environ())
	var cfg gateway.Config
	os.Exit(service.Main(service.Program{
		Name:      "gateway",
		Settings:  &cfg,
		GCPercent: gcPercent,
		Serve: func(ctx context.Context, p *service.Process) error {
			return gateway.Serve(ctx, cfg, p)
		},
	}, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
