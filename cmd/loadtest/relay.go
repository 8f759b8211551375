package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/gorilla/websocket"

	"pymessage/internal/stores/child"
)

// relay is the floor: what it costs to read a frame, to answer it and to hand it on,
// on this machine at this time, with no store, no Redis and no promise. It speaks as
// much of version 1 as chat needs.
type relay struct {
	deliver func(to *peer, event []byte) error
	last    atomic.Int64
	peers   sync.Map // id: *peer
}

func newRelay() *relay {
	r := &relay{deliver: (*peer).write}
	r.last.Store(firstRelayID)
	return r
}

type peer struct {
	id int64
	ws *websocket.Conn
	mu sync.Mutex // of writing
}

var relaySendResp = []byte(`{"type":"send_resp","status":"success"}`)

// firstRelayID is the least id of version 1.
const firstRelayID = 10_000_000

// serveRelay serves on a port that it writes to out, until the process is killed.
func serveRelay(out io.Writer) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, l.Addr()); err != nil {
		return err
	}
	return http.Serve(l, http.HandlerFunc(newRelay().upgrade))
}

func (r *relay) upgrade(w http.ResponseWriter, req *http.Request) {
	u := websocket.Upgrader{ReadBufferSize: 1 << 10, WriteBufferSize: 1 << 10}
	ws, err := u.Upgrade(w, req, nil)
	if err != nil {
		return
	}
	p := &peer{ws: ws, id: r.last.Add(1)}
	r.peers.Store(p.id, p)
	go r.serve(p) // the handler returns, so that its buffers go
}

func (r *relay) serve(p *peer) {
	defer p.ws.Close()
	defer r.peers.Delete(p.id)
	for {
		_, data, err := p.ws.ReadMessage()
		if err != nil {
			return
		}
		request, _ := scan(data)
		if string(request.kind) != "send_msg" {
			if p.write(fmt.Appendf(nil, `{"type":"resp","id":%d}`, p.id)) != nil {
				return
			}
			continue
		}
		if to, ok := r.peers.Load(request.recipient); ok {
			_ = r.deliver(to.(*peer), event(p.id, request.content)) // a socket that broke has a reader who sees it
		}
		if p.write(relaySendResp) != nil {
			return
		}
	}
}

func event(sender int64, content []byte) []byte {
	b := append(make([]byte, 0, len(content)+64), `{"type":"message","sender":`...)
	b = append(strconv.AppendInt(b, sender, 10), `,"content":"`...)
	return append(append(b, content...), `"}`...)
}

func (p *peer) write(data []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ws.WriteMessage(websocket.TextMessage, data)
}

// relayCommand makes this program a relay.
const relayCommand = "relay"

// startRelay starts a relay as a process of its own, so that its costs are apart.
func startRelay(ctx context.Context) (*target, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	cmd := exec.Command(self, relayCommand)
	cmd.Stdout, cmd.Stderr = w, os.Stderr
	proc, err := child.Start(cmd, syscall.SIGKILL)
	w.Close() // the child has its own
	if err != nil {
		return nil, fmt.Errorf("start the relay: %w", err)
	}
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		proc.Kill()
		return nil, fmt.Errorf("start the relay: %w", errors.Join(err, ctx.Err()))
	}
	t := &target{urls: []string{"ws://" + line[:len(line)-1] + "/"}, loopback: true}
	t.add("relay", process{"relay", proc.PID})
	t.stop = func() error { proc.Kill(); return nil }
	return t, nil
}
