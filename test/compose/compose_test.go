//go:build compose

// Package compose tests the stack of docker-compose.yml as it runs; run.sh brings it
// up and says by the environment where it is.
package compose

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pymessage/client"
)

// patience bounds what a test waits for.
const patience = 2 * time.Minute

// gateways is how many run.sh starts.
const gateways = 3

// compose runs docker compose with these arguments.
func compose(t *testing.T, args ...string) string {
	t.Helper()
	command := append(strings.Fields(os.Getenv("COMPOSE")), args...)
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Dir = "../.."
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", command, err, out)
	}
	return string(out)
}

// user is a client that keeps what it gets.
type user struct {
	*client.Client
	id int

	mu   sync.Mutex
	got  []string
	news chan struct{} // closed at the next message
}

func newUser(t *testing.T, name string) *user {
	t.Helper()
	u := &user{news: make(chan struct{})}
	c, err := client.New(client.Config{
		URLs: []string{"ws://127.0.0.1:" + os.Getenv("PORT") + "/"}, Username: name, Pin: "1234", Create: true,
		OnEvent: u.onEvent,
	})
	if err != nil {
		t.Fatal(err)
	}
	u.Client = c
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	})
	ready, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if u.id, err = c.Ready(ready); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return u
}

func (u *user) onEvent(_ context.Context, _ *client.Client, ev client.Event) {
	if ev.Kind != client.Message {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.got = append(u.got, ev.Content)
	close(u.news)
	u.news = make(chan struct{})
}

// await returns what the user got, once count messages are there.
func (u *user) await(t *testing.T, count int) []string {
	t.Helper()
	late := time.After(patience)
	for {
		u.mu.Lock()
		got, news := slices.Clone(u.got), u.news
		u.mu.Unlock()
		if len(got) >= count {
			return got
		}
		select {
		case <-news:
		case <-late:
			t.Fatalf("%d of %d messages came", len(got), count)
		}
	}
}

// talk sends numbered messages until stop is called, which returns those that were
// acknowledged, in their order.
func talk(t *testing.T, from *user, to int) (stop func() []string) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan []string, 1)
	go func() {
		var sent []string
		for i := 0; ctx.Err() == nil; i++ {
			content := fmt.Sprint("message ", i)
			limit, end := context.WithTimeout(context.Background(), patience)
			_, err := from.Send(limit, to, content) // repeated until it is answered
			end()
			if err != nil {
				t.Errorf("%s: %v", content, err)
				break
			}
			sent = append(sent, content)
			time.Sleep(5 * time.Millisecond) // the pace of the traffic
		}
		done <- sent
	}()
	return func() []string {
		cancel()
		return <-done
	}
}

func TestEachPartMayBeKilledAndRestartedWhilePeopleChat(t *testing.T) {
	if n := len(strings.Fields(compose(t, "ps", "--quiet", "gateway"))); n != gateways {
		t.Fatalf("%d gateways run, want %d", n, gateways)
	}
	alice, bob := newUser(t, "alice"), newUser(t, "bob")
	stop := talk(t, alice, bob.id)
	bob.await(t, 20)
	for _, part := range []string{"gateway", "social", "accounts", "redis", "postgres", "haproxy"} {
		for _, how := range [][]string{{"restart", "--timeout", "30", part}, {"kill", part}} {
			before := len(bob.await(t, 0))
			compose(t, how...)
			compose(t, "up", "--detach", "--wait", "--no-build", "--scale", fmt.Sprint("gateway=", gateways))
			after := bob.await(t, before+20)
			t.Logf("%s %s: %d messages meanwhile", how[0], part, len(after)-before)
		}
	}
	sent := stop()
	if got := bob.await(t, len(sent)); !slices.Equal(got, sent) {
		t.Errorf("%d were acknowledged, %d came; they differ", len(sent), len(got))
	}
	t.Logf("%d messages were acknowledged, and came once and in order", len(sent))
	if stats := bob.Stats(); stats.Gaps > 0 {
		t.Errorf("bob's client saw %d gaps", stats.Gaps)
	}
}

func TestSocketsAreSpreadOverTheGateways(t *testing.T) {
	for i := range 2 * gateways {
		newUser(t, fmt.Sprint("spread", i))
	}
	// As Prometheus sees it, which asks them every 10 s.
	const fewest = "http://127.0.0.1:9090/api/v1/query?query=min(pymessage_gateway_sockets)%20and%20count(pymessage_gateway_sockets)%3D%3D3"
	late := time.Now().Add(patience)
	for {
		answer := compose(t, "exec", "prometheus", "wget", "-q", "-O", "-", fewest)
		if strings.Contains(answer, `"2"]`) {
			return
		}
		if time.Now().After(late) {
			t.Fatalf("the fewest sockets of a gateway: %s", answer)
		}
		time.Sleep(time.Second)
	}
}
