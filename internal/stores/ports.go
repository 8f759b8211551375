package stores

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
	"syscall"
)

// Ports are taken from below the range that kernels hand to outgoing
// connections (from 32768 on Linux, 49152 elsewhere): so the port of a server
// that is down for a moment is not given away before it comes back.
const (
	firstPort    = 20000
	lastPort     = 32000
	portAttempts = 100
)

// nextPort begins anywhere, so that processes seldom meet, and counts up, so that
// no two callers in this process get the same.
var nextPort = func() *atomic.Uint32 {
	var n atomic.Uint32
	n.Store(rand.Uint32())
	return &n
}()

// FreePort finds a TCP port of 127.0.0.1 that nobody listens on. Another process
// may take it before it is used, so a start that fails for that reason is worth
// another try with another port.
func FreePort() (int, error) {
	var err error
	for range portAttempts {
		port := firstPort + int(nextPort.Add(1)%(lastPort-firstPort))
		var l net.Listener
		if l, err = net.Listen("tcp", loopback(port)); err == nil {
			return port, l.Close()
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return 0, fmt.Errorf("find a free port: %w", err)
}

func loopback(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}
