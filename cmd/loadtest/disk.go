package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
)

// stoodStill is the figure of watchDisk.
const stoodStill = "the disk stood still"

const (
	// diskBeat is the pause between the flushes that watch the disk.
	diskBeat = 10 * time.Millisecond
	// stillstand is how long a flush takes at least where the disk did not work at it.
	stillstand = 5 * time.Millisecond
)

// awaitQuietDisk writes out what programs have left to be written, and waits until the
// disks have had nothing to do for a second, for as long as the patience lasts: a run is
// not to be held up by what the one before it deleted. Where that cannot be seen it does
// not wait. The writing out has no bound.
func awaitQuietDisk(ctx context.Context, patience time.Duration) {
	if patience == 0 {
		return
	}
	syncDisks()
	until := time.Now().Add(patience)
	before, err := os.ReadFile("/proc/diskstats")
	for err == nil && ctx.Err() == nil && time.Now().Before(until) {
		pause(ctx, min(time.Second, time.Until(until)))
		var after []byte
		if after, err = os.ReadFile("/proc/diskstats"); bytes.Equal(before, after) {
			return
		}
		before = after
	}
}

// watchDisk writes and flushes a little beside what is measured, until the function is
// called, which tells for what part of the time the disk stood still: who waits for it
// then waits as long, however fast the deployment is.
func (t *target) watchDisk(ctx context.Context) func(*result) error {
	if t.local == nil {
		return func(*result) error { return nil }
	}
	ctx, cancel := context.WithCancel(ctx)
	var group errgroup.Group
	began, stood := time.Now(), time.Duration(0)
	group.Go(func() (err error) {
		stood, err = standstill(ctx, filepath.Join(t.dir, "watch-disk"))
		return err
	})
	return func(r *result) error {
		cancel()
		if err := group.Wait(); err != nil {
			return fmt.Errorf("watch the disk: %w", err)
		}
		r.add(stoodStill, 100*stood.Seconds()/time.Since(began).Seconds(), "% of the time")
		return nil
	}
}

// standstill flushes a file of its own until ctx ends, and tells for how long in all
// flushes stood still.
func standstill(ctx context.Context, name string) (stood time.Duration, err error) {
	file, err := os.Create(name)
	if err != nil {
		return 0, err
	}
	defer os.Remove(name)
	defer file.Close()
	page := make([]byte, 8<<10)
	if _, err := file.Write(page); err != nil {
		return 0, err
	}
	if err := file.Sync(); err != nil { // from now on the file does not grow, as Postgres's log does not
		return 0, err
	}
	for ; ctx.Err() == nil; pause(ctx, diskBeat) {
		page[0]++
		at := time.Now()
		if _, err := file.WriteAt(page, 0); err != nil {
			return 0, err
		}
		if err := flushData(file); err != nil {
			return 0, err
		}
		if took := time.Since(at); took > stillstand {
			stood += took
		}
	}
	return stood, nil
}
