package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
)

// peer is the server's end of a connection.
type peer struct {
	t  *testing.T
	ws *websocket.Conn
}

// fail ends the scene.
func (p *peer) fail(format string, args ...any) {
	p.t.Helper()
	p.t.Errorf(format, args...)
	runtime.Goexit()
}

func (p *peer) read() string {
	p.t.Helper()
	_, data, err := p.ws.ReadMessage()
	if err != nil {
		p.fail("the client has gone: %v", err)
	}
	return string(data)
}

// try sends to a client that may have gone.
func (p *peer) try(frame string) bool {
	return p.ws.WriteMessage(websocket.TextMessage, []byte(frame)) == nil
}

// background reads on, until the client goes.
func (p *peer) background() <-chan string {
	frames := make(chan string, 1000)
	go func() {
		defer close(frames)
		for {
			_, data, err := p.ws.ReadMessage()
			if err != nil {
				return
			}
			frames <- string(data)
		}
	}()
	return frames
}

// expect reads a frame, and compares it as JSON.
func (p *peer) expect(want string) {
	p.t.Helper()
	got := p.read()
	if diff := cmp.Diff(object(want), object(got)); diff != "" {
		p.fail("frame is not as wanted (-want +got):\n%s", diff)
	}
}

func object(frame string) (o map[string]any) {
	if err := json.Unmarshal([]byte(frame), &o); err != nil {
		return map[string]any{"not JSON": frame}
	}
	return o
}

func (p *peer) send(format string, args ...any) {
	p.t.Helper()
	if err := p.ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, format, args...)); err != nil {
		p.fail("could not write: %v", err)
	}
}

// login is the login by pin as request ref, to a log whose newest seq is head.
func (p *peer) login(ref, head int) {
	p.t.Helper()
	p.expect(fmt.Sprintf(`{"type":"login","ref":%d,"username":"bob","pin":"1234"}`, ref))
	p.send(`{"type":"resp","id":%d,"token":"token-%d","expires_at":%d,"seq":%d,"epoch":"e","ref":%d}`,
		me, ref, time.Now().Add(expiry).UnixMilli(), head, ref)
}

// welcome lets a client in that logs in or resumes, and gives its request.
func (p *peer) welcome() string {
	p.t.Helper()
	request := p.read()
	o := object(request)
	kind := map[any]string{"login": "resp", "resume": "resume_resp"}[o["type"]]
	p.send(`{"type":"%s","id":%d,"token":"token-1","expires_at":%d,"seq":0,"epoch":"e","ref":%v}`,
		kind, me, time.Now().Add(expiry).UnixMilli(), o["ref"])
	return request
}

const expiry = 24 * time.Hour // of the sessions of scripted servers

// resume is the resume as request ref, by the token that the login with the ref
// token got.
func (p *peer) resume(ref, token, since int, epoch string) {
	p.t.Helper()
	p.expect(fmt.Sprintf(`{"type":"resume","ref":%d,"token":"token-%d","since":%d,"epoch":"%s"}`, ref, token, since, epoch))
	p.send(`{"type":"resume_resp","id":%d,"expires_at":%d,"seq":9,"epoch":"e","ref":%d}`,
		me, time.Now().Add(expiry).UnixMilli(), ref)
}

// events sends events.
func (p *peer) events(seqs ...int) {
	p.t.Helper()
	for _, seq := range seqs {
		p.send("%s", eventFrame(seq))
	}
}

func eventFrame(seq int) string {
	return fmt.Sprintf(`{"type":"message","sender":20000002,"content":"m%d","seq":%d,"id":"%d-%d","sent_at":%d}`,
		seq, seq, me, seq, 1000+seq)
}

// event is what a handler hears of such an event.
func event(seq int) string { return fmt.Sprintf("%d message 20000002 m%d", seq, seq) }

func (p *peer) synced(seq int) {
	p.t.Helper()
	p.send(`{"type":"synced","seq":%d}`, seq)
}

func (p *peer) ack(seq int) {
	p.t.Helper()
	p.expect(fmt.Sprintf(`{"type":"ack","seq":%d}`, seq))
}

// goodbye waits for the client to close the connection by its handshake.
func (p *peer) goodbye() {
	p.t.Helper()
	_, data, err := p.ws.ReadMessage()
	if !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		p.fail("instead of a goodbye there came %s, %v", data, err)
	}
}

// gone waits for the client to go, without a word.
func (p *peer) gone() {
	p.t.Helper()
	_, data, err := p.ws.ReadMessage()
	if err == nil || websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		p.fail("instead of an end there came %s, %v", data, err)
	}
}

// goodbyeAfterAcks is goodbye, if what comes before is acks only.
func (p *peer) goodbyeAfterAcks() {
	p.t.Helper()
	for {
		_, data, err := p.ws.ReadMessage()
		if websocket.IsCloseError(err, websocket.CloseNormalClosure) {
			return
		}
		if err != nil || object(string(data))["type"] != "ack" {
			p.fail("instead of a goodbye there came %s, %v", data, err)
		}
	}
}

// close closes the connection with a code, and waits for the client's answer.
func (p *peer) close(code int) {
	p.t.Helper()
	message := websocket.FormatCloseMessage(code, "as the test wants")
	if err := p.ws.WriteControl(websocket.CloseMessage, message, time.Now().Add(time.Minute)); err != nil {
		p.fail("could not close: %v", err)
	}
	if _, _, err := p.ws.ReadMessage(); err == nil || errors.Is(err, io.EOF) {
		p.fail("the client did not close: %v", err)
	}
}
