package service

import (
	"os"
	"slices"
	"strings"
	"syscall"
)

// calm is the setting of GODEBUG that keeps Go's monitor of its scheduler out of deep
// sleep. It is to trace the scheduler, once in as many milliseconds: 24 days, which is as
// seldom as can be. A process that crashes traces it too, with a line for each goroutine,
// before it says why.
const calm = "schedtrace=2147483647"

// CalmMonitor makes Go's monitor of its scheduler look every 10 ms whether there is
// something to do. Otherwise it falls asleep whenever all goroutines wait, and the next
// system call of any of them wakes it: a service that is woken a thousand times a second
// wakes its monitor as often, which took a sixth of its processor time.
//
// GODEBUG is read before any code of ours, so the program begins once more, as the same
// process, with its args and environ. To be called first of all; who traces the scheduler
// already is left alone, and where it is not allowed nothing changes.
func CalmMonitor(args, environ []string) {
	const name = "GODEBUG="
	i := slices.IndexFunc(environ, func(entry string) bool { return strings.HasPrefix(entry, name) })
	switch {
	case i < 0:
		environ = append(slices.Clone(environ), name+calm)
	case strings.Contains(environ[i], "schedtrace="):
		return
	default:
		environ = slices.Clone(environ)
		environ[i] += "," + calm
	}
	program, err := os.Executable()
	if err != nil {
		return
	}
	_ = syscall.Exec(program, args, environ) // returns only if it failed
}
