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
	if areRelaxed() {
		return
	}
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0, 0, 0)
	program, err := os.Executable()
	if err != nil || !areRelaxed() { // real-time policies take any slack and keep none: no second beginning would see it
		return
	}
	_ = syscall.Exec(program, args, environ) // returns only if it failed
}

// areRelaxed is about the timers of this thread.
func areRelaxed() bool {
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	return err == nil && time.Duration(slack) >= timerSlack
}
