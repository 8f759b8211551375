// Package stream carries calls between services over connections that stay open. A call
// is one frame there, its answer one frame back, and between them nothing of HTTP is
// read or written: where calls are small and frequent, that is most of what they cost.
//
// A connection begins as an HTTP/1.1 request that asks for an upgrade (RFC 9110 section
// 7.8), so it uses the port, the secret and the routes that are there. One call is under
// way on it at a time.
//
// What it does not promise: a call whose answer does not come may have been carried out,
// and the client may make the same call twice. So it is for calls that may be repeated.
package stream

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"time"

	"pymessage/internal/fault"
)

// protocol is what the upgrade asks for.
const protocol = "pymessage-stream"

const (
	// maxFrame bounds a frame. The largest is a batch of messages.
	maxFrame = 16 << 20
	// keptBuffer is the most of a buffer that a connection keeps between calls.
	keptBuffer = 64 << 10
	// headerSize is the length of a frame, which is sent before it.
	headerSize = 4
	// idleTime is how long a client keeps a connection without a call, patience how long
	// a server does, so that the client closes first.
	idleTime = 90 * time.Second
	patience = 120 * time.Second
)

// What the first byte of an answer says.
const (
	succeeded = 0 // the rest is the answer
	failed    = 1 // the rest is the kind of a fault, a line feed, and its message
)

// readFrame reads a frame into buf, or a larger one.
func readFrame(r *bufio.Reader, buf []byte) ([]byte, error) {
	header, err := r.Peek(headerSize)
	if err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(header))
	if n > maxFrame {
		return nil, fmt.Errorf("a frame of %d bytes", n)
	}
	if _, err := r.Discard(headerSize); err != nil {
		return nil, err
	}
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	_, err = io.ReadFull(r, buf[:n])
	return buf[:n], err
}

// newFrame begins a frame in buf: its header, which finish fills in.
func newFrame(buf []byte) []byte { return append(buf[:0], make([]byte, headerSize)...) }

func finish(frame []byte) []byte {
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-headerSize))
	return frame
}

// keep is what a connection keeps of a buffer.
func keep(buf []byte) []byte {
	if cap(buf) > keptBuffer {
		return nil
	}
	return buf
}

// appendFault adds the answer that err is.
func appendFault(b []byte, err error) []byte {
	b = append(b, failed)
	b = append(b, fault.KindOf(err)...)
	b = append(b, '\n')
	return append(b, fault.Message(err)...)
}

// readAnswer gives the rest of an answer, or the fault that it is.
func readAnswer(answer []byte) ([]byte, error) {
	switch {
	case len(answer) > 0 && answer[0] == succeeded:
		return answer[1:], nil
	case len(answer) > 0 && answer[0] == failed:
		kind, message, _ := strings.Cut(string(answer[1:]), "\n")
		return nil, &fault.Error{Kind: fault.Kind(kind), Message: message}
	}
	return nil, fault.New(fault.Unavailable, "service gave a broken answer")
}
