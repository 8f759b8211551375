package main

import (
	"os"

	"golang.org/x/sys/unix"
)

func syncDisks() { unix.Sync() }

// flushData is how Postgres flushes its log on Linux.
func flushData(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }
