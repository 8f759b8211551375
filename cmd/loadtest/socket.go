package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"

	"crypto/rand"
)

// The operations of WebSocket frames.
const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

const (
	// dialTimeout bounds the way to a socket: a gateway that was just started, or
	// is stormed, may need seconds.
	dialTimeout = 20 * time.Second
	// firstBuffer is what each socket reads with at first; it grows to the longest
	// frame.
	firstBuffer = 2 << 10
	// longestFrame that we take: version 1 content has 4,096 characters.
	longestFrame = 1 << 20
)

// socket is a client's WebSocket, without anything that a load test does not need:
// the generator shares the machine with what it measures. Frames are read in place,
// and are masked with zeros, which saves the work but not that of the server.
type socket struct {
	conn       net.Conn
	buf        []byte
	start, end int   // of what was read and not taken
	readAt     int64 // clock of the last read
}

// dialer says how to reach a gateway.
type dialer struct {
	version int
	local   net.IP // source address; nil: the system's choice
	// receive is the size of the kernel's receive buffer; 0: the system's choice.
	receive int
}

// dial opens a socket.
func (d dialer) dial(ctx context.Context, address string) (*socket, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	nd := net.Dialer{KeepAlive: -1}
	if d.local != nil {
		nd.LocalAddr = &net.TCPAddr{IP: d.local}
	}
	if d.receive > 0 {
		nd.Control = func(_, _ string, c syscall.RawConn) error { return setReceiveBuffer(c, d.receive) }
	}
	conn, err := nd.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil, err
	}
	s := &socket{conn: conn, buf: make([]byte, firstBuffer)}
	deadline, _ := ctx.Deadline()
	if err := s.upgrade(u, d.version, deadline); err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

func setReceiveBuffer(c syscall.RawConn, size int) error {
	var err error
	if fault := c.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, size)
	}); fault != nil {
		return fault
	}
	return err
}

// upgrade makes a WebSocket of the connection.
func (s *socket) upgrade(u *url.URL, version int, deadline time.Time) error {
	var key [16]byte
	rand.Read(key[:])
	path := u.RequestURI()
	var protocol string
	if version == 2 {
		protocol = "Sec-WebSocket-Protocol: pymessage.v2\r\n"
	}
	request := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n%s\r\n",
		path, u.Host, base64.StdEncoding.EncodeToString(key[:]), protocol)
	if err := s.conn.SetDeadline(deadline); err != nil {
		return err
	}
	if _, err := s.conn.Write([]byte(request)); err != nil {
		return err
	}
	for {
		if err := s.fill(); err != nil {
			return fmt.Errorf("upgrade: %w", err)
		}
		head, _, whole := bytes.Cut(s.buf[s.start:s.end], []byte("\r\n\r\n"))
		if !whole {
			continue
		}
		if err := checkUpgrade(string(head), protocol); err != nil {
			return err
		}
		s.start += len(head) + 4
		return s.conn.SetDeadline(time.Time{})
	}
}

func checkUpgrade(head, protocol string) error {
	status, headers, _ := strings.Cut(head, "\r\n")
	if !strings.HasPrefix(status, "HTTP/1.1 101 ") {
		return fmt.Errorf("upgrade refused: %s", status)
	}
	if wanted := strings.TrimSpace(protocol); !strings.Contains(strings.ToLower(headers), strings.ToLower(wanted)) {
		return errors.New("the server does not speak version 2")
	}
	return nil
}

// fill reads what there is, at least a byte.
func (s *socket) fill() error {
	if s.start == s.end {
		s.start, s.end = 0, 0
	}
	if s.end == len(s.buf) {
		s.makeRoom()
	}
	n, err := s.conn.Read(s.buf[s.end:])
	s.end += n
	s.readAt = clock()
	if n > 0 {
		return nil
	}
	return err
}

func (s *socket) makeRoom() {
	to := s.buf
	if s.end-s.start > len(s.buf)/2 {
		to = make([]byte, 2*len(s.buf))
	}
	s.end = copy(to, s.buf[s.start:s.end])
	s.start, s.buf = 0, to
}

// next gives the next frame. Its payload is good until the call after.
func (s *socket) next() (op byte, payload []byte, err error) {
	for {
		op, payload, size, err := parseFrame(s.buf[s.start:s.end])
		if err != nil {
			return 0, nil, err
		}
		if size > 0 {
			s.start += size
			return op, payload, nil
		}
		if err := s.fill(); err != nil {
			return 0, nil, err
		}
	}
}

// ready says that another frame is there without reading.
func (s *socket) ready() bool {
	_, _, size, err := parseFrame(s.buf[s.start:s.end])
	return size > 0 || err != nil
}

// parseFrame takes the first frame of what a server sent; its size is 0 when it is
// not whole yet.
func parseFrame(b []byte) (op byte, payload []byte, size int, err error) {
	if len(b) < 2 {
		return 0, nil, 0, nil
	}
	if b[0]&0xf0 != 0x80 || b[1]&0x80 != 0 {
		return 0, nil, 0, fmt.Errorf("a frame of a kind that no gateway sends: % x", b[:2])
	}
	head, n := 2, uint64(b[1])
	switch {
	case n == 126 && len(b) >= 4:
		head, n = 4, uint64(binary.BigEndian.Uint16(b[2:]))
	case n == 127 && len(b) >= 10:
		head, n = 10, binary.BigEndian.Uint64(b[2:])
	case n >= 126:
		return 0, nil, 0, nil
	}
	if n > longestFrame {
		return 0, nil, 0, fmt.Errorf("a frame of %d bytes", n)
	}
	if len(b) < head+int(n) {
		return 0, nil, 0, nil
	}
	return b[0] & 0x0f, b[head : head+int(n)], head + int(n), nil
}

// appendFrame adds a client's frame to b.
func appendFrame(b []byte, op byte, payload []byte) []byte {
	n := len(payload)
	switch {
	case n < 126:
		b = append(b, 0x80|op, 0x80|byte(n))
	case n < 1<<16:
		b = append(b, 0x80|op, 0x80|126, byte(n>>8), byte(n))
	default:
		b = append(b, 0x80|op, 0x80|127)
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	b = append(b, 0, 0, 0, 0) // the mask
	return append(b, payload...)
}

// epoch is when this process began.
var epoch = time.Now()

// clock is the time since epoch in nanoseconds.
func clock() int64 { return int64(time.Since(epoch)) }
