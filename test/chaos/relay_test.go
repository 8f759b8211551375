package chaos

import (
	"bufio"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// pairThrough connects a client to a server through a relay.
func pairThrough(t *testing.T) (r *relay, client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if r, err = newRelay(true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.close() })
	r.lead(l.Addr().String())
	if client, err = net.Dial("tcp", r.address()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	say(t, client, server)
	say(t, server, client)
	return r, client, server
}

// say has a line go from one to the other.
func say(t *testing.T, from, to net.Conn) {
	t.Helper()
	if _, err := io.WriteString(from, "hello\n"); err != nil {
		t.Fatal(err)
	}
	_ = to.SetReadDeadline(time.Now().Add(dialPatience))
	if line, err := bufio.NewReader(to).ReadString('\n'); line != "hello\n" {
		t.Fatalf("got %q: %v", line, err)
	}
}

func expectReset(t *testing.T, conn net.Conn) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(dialPatience))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
}

// expectSilence wants nothing to come for a moment.
func expectSilence(t *testing.T, conn net.Conn) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	var timeout net.Error
	if n, err := conn.Read(make([]byte, 1)); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("got %d bytes: %v", n, err)
	}
}

func TestARelayCutsOneSideAndTellsTheOtherLater(t *testing.T) {
	t.Parallel()
	for _, s := range []side{clientSide, serverSide} {
		r, client, server := pairThrough(t)
		cut, other := client, server
		if s == serverSide {
			cut, other = server, client
		}
		heal := r.cut(&s)
		expectReset(t, cut)
		expectSilence(t, other)
		heal()
		expectReset(t, other)
	}
}

func TestAFrozenRelayHoldsUpAnswersAlone(t *testing.T) {
	t.Parallel()
	r, client, server := pairThrough(t)
	r.freeze()
	say(t, client, server)
	if _, err := io.WriteString(server, "a\nb\n"); err != nil {
		t.Fatal(err)
	}
	expectSilence(t, client)
	r.thaw()
	_ = client.SetReadDeadline(time.Now().Add(dialPatience))
	if line, err := bufio.NewReader(client).ReadString('\n'); line != "a\n" {
		t.Errorf("got %q: %v", line, err)
	}
}

func TestARelayLosesAnswers(t *testing.T) {
	t.Parallel()
	r, client, server := pairThrough(t)
	r.dropping.Store(true)
	say(t, client, server)
	if _, err := io.WriteString(server, "an answer"); err != nil {
		t.Fatal(err)
	}
	expectReset(t, client)
	expectReset(t, server)
}
