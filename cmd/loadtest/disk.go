package main

import (
	"bytes"
	"context"
	"os"
	"time"
)

// awaitQuietDisk writes out what programs have left to be written, and waits until the
// disks have had nothing to do for a second, for as long as the patience lasts: a run is
// not to be held up by what the one before it deleted. Where that cannot be seen it does
// not wait.
func awaitQuietDisk(ctx context.Context, patience time.Duration) {
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
