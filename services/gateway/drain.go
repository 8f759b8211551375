package gateway

import (
	"sync"
	"time"

	"pymessage/services/gateway/wire"
)

const (
	// drainPong is how long a socket that is drained waits for the pong that
	// confirms what was written to it.
	drainPong = time.Second
	// drainStep is the longest pause between two sockets: few sockets need not be
	// spread over the whole of DRAIN_SPREAD.
	drainStep = 20 * time.Millisecond
)

// drainAll closes all sockets in paced steps, so that their clients do not all
// come back in the same moment.
func (s *Server) drainAll() {
	conns := s.allConns()
	if len(conns) == 0 {
		return
	}
	step := min(s.cfg.DrainSpread/time.Duration(len(conns)), drainStep)
	var drains sync.WaitGroup
	for _, c := range conns {
		drains.Go(c.drain)
		time.Sleep(step)
	}
	drains.Wait()
}

// drain makes the client go elsewhere: no further request is accepted, those in
// flight are answered, no further event is written, a last ping gets a moment to be
// answered, then the socket is closed with 1012.
func (c *conn) drain() {
	c.mu.Lock()
	c.draining = true
	for !c.closed && (c.busy || c.inFlight > 0) {
		c.room.Wait()
	}
	c.mu.Unlock()
	if f := c.follows(); f != nil {
		f.pause(c)
	}
	c.ping()
	c.awaitConfirmation()
	c.close(wire.CloseRestart, "the gateway restarts")
}

// awaitConfirmation waits until everything is written and confirmed, at most for
// drainPong.
func (c *conn) awaitConfirmation() {
	late := false
	timer := time.AfterFunc(drainPong, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		late = true
		c.room.Broadcast()
	})
	defer timer.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closed && !late && (c.writing || c.confirmed < c.written) {
		c.room.Wait()
	}
}
