package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// timer waits until a point in time, to some 50 µs: that of the Go runtime may be a
// millisecond late.
type timer struct{ file *os.File }

func newTimer() (*timer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	return &timer{os.NewFile(uintptr(fd), "timer")}, nil
}

// wait waits until the clock is at.
func (t *timer) wait(at int64) error {
	left := at - clock()
	if left <= 0 {
		return nil
	}
	conn, err := t.file.SyscallConn()
	if err != nil {
		return err
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(left)}
	var fault error
	if err := conn.Control(func(fd uintptr) { fault = unix.TimerfdSettime(int(fd), 0, &spec, nil) }); err != nil {
		return err
	}
	if fault != nil {
		return os.NewSyscallError("timerfd_settime", fault)
	}
	var fired [8]byte
	if _, err := t.file.Read(fired[:]); err != nil {
		return err
	}
	return nil
}

func (t *timer) close() { t.file.Close() }
