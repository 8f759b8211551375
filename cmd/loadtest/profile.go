package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// profile takes profiles of the services, all but those named as down, for as long as
// the measuring goes on, a second at least; the function waits for them.
func (t *target) profile(ctx context.Context, o *options, down ...string) func() error {
	var group errgroup.Group
	if o.profile == "" {
		return group.Wait
	}
	seconds := max(1, int(o.duration/time.Second))
	for name, ops := range t.ops {
		if !slices.Contains(down, name) {
			group.Go(func() error {
				return errors.Join(
					fetch(ctx, fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", ops, seconds), filepath.Join(o.profile, name+".cpu.pprof")),
					fetch(ctx, ops+"/debug/pprof/heap", filepath.Join(o.profile, name+".heap.pprof")))
			})
		}
	}
	return group.Wait
}

// fetch saves what a URL gives.
func fetch(ctx context.Context, address, file string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
		return fmt.Errorf("profile of %s: %s %s", address, resp.Status, strings.TrimSpace(string(why)))
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, resp.Body)
	return errors.Join(err, out.Close())
}
