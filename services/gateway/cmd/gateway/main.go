// Command gateway runs a pymessage gateway. See docs/operations.md.
package main

import (
	"context"
	"os"

	"pymessage/internal/service"
	"pymessage/services/gateway"
)

func main() {
	var cfg gateway.Config
	os.Exit(service.Main(service.Program{
		Name:     "gateway",
		Settings: &cfg,
		Serve: func(ctx context.Context, p *service.Process) error {
			return gateway.Serve(ctx, cfg, p)
		},
	}, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
