package service

import (
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// timerSlack is by how much the timers of a service may be late. Linux allows 50 µs
// by default (prctl(2), PR_SET_TIMERSLACK).
const timerSlack = 250 * time.Microsecond

// RelaxTimers lets the timers of this process be late by timerSlack. Go's monitor of its
// own scheduler sleeps for no more than 20 µs at a time whenever the process has just been
// woken, and a service that is woken a thousand times a second spent a tenth of its
// processor time on that.
//
// A thread inherits the slack of the one that starts it, and the monitor is there before
// any code of ours. So the program begins once more, as the same process, with its args
// and environ. To be called first of all; where it is not allowed, nothing changes.
func RelaxTimers(args, environ []string) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || time.Duration(slack) >= timerSlack {
		return
	}
	program, err := os.Executable()
	if err != nil || unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0, 0, 0) != nil {
		return
	}
	_ = syscall.Exec(program, args, environ) // returns only if it failed
}
