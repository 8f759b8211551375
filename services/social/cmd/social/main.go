// Command social runs the social service of pymessage. See docs/operations.md.
package main

import (
	"context"
	"os"

	"pymessage/internal/service"
	"pymessage/services/social"
)

func main() {
	service.CalmMonitor(os.Args, os.Environ())
	var cfg social.Config
	os.Exit(service.Main(service.Program{
		Name:     "social",
		Settings: &cfg,
		Serve: func(ctx context.Context, p *service.Process) error {
			return social.Serve(ctx, cfg, p)
		},
		Database: []service.DatabaseCommand{
			{Name: "migrate", Do: social.Migrate},
			{Name: "new-epoch", Do: social.NewEpoch},
		},
	}, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
