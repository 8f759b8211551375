package chaos

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// device speaks a version of the protocol, on one socket at a time.
type device interface {
	// login logs in on a new socket.
	login(ws *websocket.Conn) (*Socket, error)
	// open gives requests the socket, and shut takes it from them.
	open(ws *websocket.Conn)
	shut()
	// take deals with a frame.
	take(data []byte)
	// goodbye ends the socket, since the user leaves.
	goodbye(ws *websocket.Conn)
}

// runAll keeps all devices of a person connected until ctx ends or the account is
// deleted. Of two the second waits for the first to make the account.
func runAll[D device](ctx context.Context, p *person, devices []D) {
	var running sync.WaitGroup
	for i, d := range devices {
		running.Go(func() {
			p.keep(ctx, i == 0, func(stay context.Context) { p.connect(ctx, stay, d) })
		})
	}
	running.Wait()
	p.aside.Wait()
}

// connect logs in and reads until the socket ends. When stay ends the device says
// goodbye; the end of ctx just ends it.
func (p *person) connect(ctx, stay context.Context, d device) {
	ws, err := p.dial(ctx)
	if err != nil {
		return
	}
	defer ws.Close()
	defer context.AfterFunc(ctx, func() { ws.Close() })()
	s, err := d.login(ws)
	if err != nil {
		return
	}
	p.rec.login(s)
	d.open(ws)
	defer context.AfterFunc(stay, func() {
		if ctx.Err() == nil {
			d.goodbye(ws)
		}
	})()
	code := receive(ws, d.take)
	d.shut()
	p.rec.logout(s, code)
}

// receive hands over frames until the socket ends, and gives the code with which the
// server closed it, if it did.
func receive(ws *websocket.Conn, take func(data []byte)) (code int) {
	for {
		_ = ws.SetReadDeadline(time.Now().Add(readPatience))
		_, data, err := ws.ReadMessage()
		if err != nil {
			var closed *websocket.CloseError
			if errors.As(err, &closed) {
				code = closed.Code
			}
			return code
		}
		take(data)
	}
}
