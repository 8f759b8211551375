package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A tick of /proc: USER_HZ, which is 100 on every Linux.
const tick = 10 * time.Millisecond

// process is a program of the deployment that is measured, its children included.
type process struct {
	Name string
	PID  func() int // it changes when the process is started again
}

// cpuTime is the processor time that a process and its children have used, those
// that have ended included.
func cpuTime(pid int) (time.Duration, error) {
	own, err := readStat(pid)
	if err != nil {
		return 0, err
	}
	total := own.ownTime + own.endedTime
	children, err := childrenOf(pid)
	for _, c := range children {
		total += c.ownTime
	}
	return total, err
}

// stat is what we want of /proc/PID/stat.
type stat struct {
	pid, parent        int
	ownTime, endedTime time.Duration // endedTime: of children that have ended
}

func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	return parseStat(pid, string(text))
}

func parseStat(pid int, text string) (stat, error) {
	// The name in parentheses may hold anything; after it come the state, field 3,
	// and the others.
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 15 {
		return stat{}, fmt.Errorf("process %d: cannot read %q", pid, text)
	}
	ticks := func(field int) time.Duration {
		n, _ := strconv.ParseInt(fields[field-3], 10, 64)
		return time.Duration(n) * tick
	}
	parent, err := strconv.Atoi(fields[1])
	return stat{pid, parent, ticks(14) + ticks(15), ticks(16) + ticks(17)}, err
}

func childrenOf(pid int) ([]stat, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var children []stat
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			if s, err := readStat(n); err == nil && s.parent == pid {
				children = append(children, s)
			}
		}
	}
	return children, nil
}

// memory is the proportional set size of a process and its children in bytes: what
// they share is counted once.
func memory(pid int) (int64, error) {
	total, err := readPSS(pid)
	if err != nil {
		return 0, err
	}
	children, err := childrenOf(pid)
	for _, c := range children {
		if n, err := readPSS(c.pid); err == nil { // it may have ended meanwhile
			total += n
		}
	}
	return total, err
}

func readPSS(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	return parsePSS(text)
}

func parsePSS(text []byte) (int64, error) {
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte("Pss:")); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(string(rest)), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("there is no Pss in smaps_rollup")
}

// ownCPU is the processor time of this process: the generator.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// machineCPU is the processor time that everything on the machine has used, and
// what the host of a virtual machine took away.
func machineCPU() (used time.Duration, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	for i, f := range strings.Fields(line) {
		if i == 0 || i == 4 || i == 5 || i > 8 { // the name, idle, waiting for the disk, guests (in user already)
			continue
		}
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		used += time.Duration(n) * tick
	}
	return used, nil
}
