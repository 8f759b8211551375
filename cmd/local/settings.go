package main

import (
	"errors"
	"fmt"
	"io"

	"pymessage/internal/local"
	"pymessage/internal/service"
	"pymessage/internal/stores"
)

// maxGateways is more than one machine has a use for.
const maxGateways = 64

// settings come from the environment.
type settings struct {
	PostgresURL string `env:"POSTGRES_URL"`
	RedisURL    string `env:"REDIS_URL"`
	ListenAddr  string `env:"LISTEN_ADDR" envDefault:":6969"`
	DataDir     string `env:"DATA_DIR"`
	Gateways    int    `env:"GATEWAYS" envDefault:"2"`

	environ []string // all of it, for the services
}

// Validate is called by service.ParseSettings.
func (s *settings) Validate() []error {
	if s.Gateways < 1 || s.Gateways > maxGateways {
		return []error{fmt.Errorf("GATEWAYS must be from 1 to %d", maxGateways)}
	}
	return nil
}

func readSettings(environ []string) (*settings, error) {
	s := &settings{environ: environ}
	return s, service.ParseSettings(s, environ)
}

// options make the deployment of the settings.
func (s *settings) options(stdout, stderr io.Writer) (local.Options, error) {
	bin, err := binDir()
	if err != nil {
		return local.Options{}, err
	}
	if err := s.chooseDataDir(stdout); err != nil {
		return local.Options{}, err
	}
	if s.RedisURL == "" {
		if _, err := stores.FindRedis(); err != nil {
			fmt.Fprintf(stdout, "%v\nuntil then a small one inside this process takes its place\n", err)
		}
	}
	return local.Options{
		BinDir: bin, DataDir: s.DataDir, PostgresURL: s.PostgresURL, RedisURL: s.RedisURL,
		ListenAddr: s.ListenAddr, Gateways: s.Gateways, Durable: true, Environ: s.environ,
		Report: func(what string) { fmt.Fprintln(stderr, "local:", what) },
	}, nil
}

// chooseDataDir takes a folder where our own Postgres can have its data. One that
// was asked for is never replaced.
func (s *settings) chooseDataDir(stdout io.Writer) error {
	wanted, fallback := s.DataDir, ""
	if wanted == "" {
		wanted, fallback = ".data", fallbackDir
	}
	s.DataDir = wanted
	if s.PostgresURL != "" {
		return nil
	}
	var err error
	s.DataDir, err = local.UsableDataDir(wanted, fallback)
	if errors.Is(err, stores.ErrNotInstalled) {
		return fmt.Errorf("%w; or set POSTGRES_URL", err)
	}
	if err == nil && s.DataDir != wanted {
		fmt.Fprintf(stdout, "the data is kept in %s: the user who runs Postgres for root may not enter %s\n", s.DataDir, wanted)
	}
	return err
}
