//go:build !linux

package service

// RelaxTimers is for Linux.
func RelaxTimers(args, environ []string) {}
