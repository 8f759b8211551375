package ops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"pymessage/client"
	"pymessage/internal/local"
)

// live lets people use a deployment in all the ordinary ways until the test ends:
// two chat, on two gateways, others come, mistype their pins, make friends and go.
func live(t *testing.T, d *local.Deployment) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	t.Cleanup(func() {
		stop()
		all.Wait()
	})
	var people []*client.Client
	for i, gateway := range d.Gateways() {
		people = append(people, person(t, ctx, &all, client.Config{
			URLs: []string{socketURL(gateway.PublicURL)}, Username: fmt.Sprint("person", i), Pin: "1234", Create: true}))
	}
	ids := make([]int, len(people))
	for i, p := range people {
		var err error
		if ids[i], err = p.Ready(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for i, p := range people {
		all.Go(func() { chat(ctx, p, ids[(i+1)%len(ids)]) })
	}
	all.Go(func() { comeAndGo(t, ctx, d, ids[0]) })
}

func socketURL(address string) string { return "ws" + strings.TrimPrefix(address, "http") + "/" }

// person runs a client until ctx ends.
func person(t *testing.T, ctx context.Context, all *sync.WaitGroup, cfg client.Config) *client.Client {
	t.Helper()
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	all.Go(func() {
		if err := c.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", cfg.Username, err)
		}
	})
	return c
}

// chat sends a few messages a second.
func chat(ctx context.Context, c *client.Client, to int) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-tick.C:
			_, _ = c.Send(ctx, to, fmt.Sprint("message ", i))
		case <-ctx.Done():
			return
		}
	}
}

// comeAndGo is a stream of visitors: by version 1, as most of them do nothing long.
func comeAndGo(t *testing.T, ctx context.Context, d *local.Deployment, friend int) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := visit(ctx, d, fmt.Sprint("visitor", i), friend); err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	}
}

func visit(ctx context.Context, d *local.Deployment, name string, friend int) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	cfg := client.Config{URLs: []string{socketURL(d.URL())}, Version: client.Version1, Username: name, Pin: "1234", Create: true}
	c, err := client.New(cfg)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	if _, err := c.Ready(ctx); err != nil {
		return err
	}
	if err := c.RequestFriend(ctx, friend); err != nil {
		return err
	}
	if _, err := c.Friends(ctx); err != nil {
		return err
	}
	c.Close()
	if err := <-ended; err != nil {
		return err
	}
	cfg.Create, cfg.Pin = false, "9999"
	if c, err = client.New(cfg); err != nil {
		return err
	}
	if err := c.Run(ctx); err == nil {
		return errors.New("a wrong pin was right")
	}
	return lookUp(ctx, d, friend)
}

// lookUp uses the REST interface.
func lookUp(ctx context.Context, d *local.Deployment, user int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/get_user?id=%d", d.URL(), user), nil)
	if err != nil {
		return err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
