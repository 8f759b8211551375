// Command accounts runs the accounts service.
package main

import (
	"context"
	"os"

	"pymessage/internal/service"
	"pymessage/services/accounts"
)

func main() {
	service.CalmMonitor(os.Args, os.Environ())
	var cfg accounts.Config
	os.Exit(service.Main(service.Program{
		Name:     "accounts",
		Settings: &cfg,
		Serve: func(ctx context.Context, p *service.Process) error {
			return accounts.Serve(ctx, cfg, p)
		},
		Database: []service.DatabaseCommand{
			{Name: "migrate", Do: accounts.Migrate},
		},
	}, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
