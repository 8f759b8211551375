package gateway

import (
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

func TestAPingOfTheClientIsAnswered(t *testing.T) {
	t.Parallel()
	b := setup(t)

	bob := b.enter(t, "bob")
	var pongs []string
	bob.ws.SetPongHandler(func(payload string) error {
		pongs = append(pongs, payload)
		return nil
	})
	for _, payload := range []string{"", "1", "the newest"} {
		if err := bob.ws.WriteControl(websocket.PingMessage, []byte(payload), time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
	}
	bob.message(bob.id, "behind them")
	for frame := bob.read(); frame != sent; {
		frame = bob.read()
	}
	if n := len(pongs); n == 0 || n > 3 || pongs[n-1] != "the newest" {
		t.Errorf("the pongs are %q", pongs)
	}
}

func TestAPingDoesNotChangeThePatienceWithASlowClient(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.QueueBytes, c.Patience = 16<<20, 4*time.Second })

	frozen, _ := b.freeze(t, "frozen")
	began := time.Now()
	<-time.After(500 * time.Millisecond) // by now the writer waits, for seconds to come
	if err := frozen.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	b.awaitGone(t, frozen.id)
	if took := time.Since(began); took < 3*time.Second {
		t.Errorf("it was given up after %v", took)
	}
}
