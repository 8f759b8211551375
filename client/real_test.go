package client_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gorilla/websocket"

	"pymessage/client"
)

// parrots is a server on a real network that sends everybody who logs in one
// message, and tells said what is sent to it.
func parrots(greeting string, said chan<- string) http.Handler {
	upgrader := websocket.Upgrader{Subprotocols: []string{"pymessage.v2"}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		for {
			_, data, err := ws.ReadMessage()
			if err != nil {
				return
			}
			switch o := object(string(data)); o["type"] {
			case "create_acc":
				write(ws, `{"type":"create_acc_resp","id":10000001,"token":"t","expires_at":1,"seq":1,"epoch":"e","ref":%v}`, o["ref"])
				write(ws, `{"type":"message","sender":20000002,"content":"%s","seq":1,"id":"10000001-1","sent_at":1}`, greeting)
				write(ws, `{"type":"synced","seq":1}`)
			case "send_msg":
				write(ws, `{"type":"send_resp","status":"success","id":"20000002-1","sent_at":2,"ref":%v}`, o["ref"])
				said <- o["content"].(string)
			}
		}
	})
}

func write(ws *websocket.Conn, format string, args ...any) {
	_ = ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, format, args...))
}

func TestItWorksOverTLS(t *testing.T) {
	t.Parallel()
	said := make(chan string, 1)
	srv := httptest.NewTLSServer(parrots("hello", said))
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	bot, err := client.New(client.Config{
		URLs: []string{srv.URL}, Username: "bob", Pin: "1234", Create: true, TLS: &tls.Config{RootCAs: roots},
		OnEvent: func(ctx context.Context, c *client.Client, ev client.Event) {
			if _, err := c.Send(ctx, ev.Peer, ev.Content+" yourself"); err != nil {
				t.Error(err)
			}
			c.Close()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := bot.Run(t.Context()); err != nil {
		t.Error(err)
	}
	if got := <-said; got != "hello yourself" {
		t.Errorf("it said %q", got)
	}
}
