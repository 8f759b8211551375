//go:build !linux

package main

import "time"

// timer waits until a point in time, as well as the Go runtime can.
type timer struct{}

func newTimer() (*timer, error) { return &timer{}, nil }

func (t *timer) wait(at int64) error {
	time.Sleep(time.Duration(at - clock()))
	return nil
}

func (t *timer) close() {}
