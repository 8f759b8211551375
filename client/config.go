package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// The versions of the protocol.
const (
	Version1 = 1
	Version2 = 2
)

const (
	// defaultOutstanding is how many requests may be without an answer. It is well
	// below the burst of 1000 that a gateway takes after a reconnect, when all of them
	// are sent again at once, and plenty to fill a connection.
	defaultOutstanding = 256
	// defaultQueue is how many events wait for OnEvent. With messages of the largest
	// size this is 16 MiB.
	defaultQueue = 1024
)

// Config says who the user is, where the server is, and what is to happen with
// events. It needs URLs, and either a username and a pin or a token.
type Config struct {
	// URLs are where gateways are: ws://host:port/ or wss://. After a failure the
	// next one is tried.
	URLs []string
	// Version of the protocol, Version1 or Version2. 0 means Version2.
	Version int

	Username, Pin string
	// Create makes the account, unless there is one with this Username and Pin.
	Create bool
	// State is where an earlier Client was: version 2 goes on from there. With its
	// token the pin is needed only when the session is over, because its time is or
	// somebody has ended it: then a login by pin begins another. Without a pin that is
	// the end of Run.
	State State

	// The handlers are called one at a time, in order, from one goroutine. They may
	// use the client. ctx ends with that of Run, which waits for them to return.

	// OnEvent is called for each event. When it returns, the event counts as handled.
	OnEvent func(ctx context.Context, c *Client, ev Event)
	// OnResync is called when what was handed over and what follows are not
	// continuous. Version 2.
	OnResync func(ctx context.Context, c *Client, r Resync)
	// OnSynced is called after each login, once everything was handed over that
	// waited for it. Version 2.
	OnSynced func(ctx context.Context, c *Client, seq int64)
	// OnPassing is called with what is in no log, in the order of coming among events;
	// what does not fit into the queue of events is lost. Version 2.
	OnPassing func(ctx context.Context, c *Client, p Passing)
	// OnStatus is told of connections that begin and end, by the goroutine that makes
	// them: it must not wait.
	OnStatus func(Status)

	MaxOutstanding int // requests without an answer; more wait. 0 means 256
	EventQueue     int // events that wait for OnEvent. 0 means 1024

	// DialContext connects. nil means net.Dialer.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	TLS         *tls.Config  // for wss
	Header      http.Header  // of the WebSocket handshake
	Logger      *slog.Logger // nil means none. Pins, tokens and contents are never logged
}

// Status is a change of the connection.
type Status struct {
	Connected bool // logged in
	URL       string
	Err       error // why the connection ended, or was not made
}

// complete checks a Config and puts the defaults in.
func (c *Config) complete() error {
	errs := []error{c.completeURLs(), c.completeIdentity()}
	if c.MaxOutstanding < 0 || c.EventQueue < 0 {
		errs = append(errs, errors.New("MaxOutstanding and EventQueue must not be negative"))
	}
	c.MaxOutstanding = or(c.MaxOutstanding, defaultOutstanding)
	c.EventQueue = or(c.EventQueue, defaultQueue)
	c.Header = c.Header.Clone()
	if c.DialContext == nil {
		c.DialContext = new(net.Dialer).DialContext
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return errors.Join(errs...)
}

func or(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}

func (c *Config) completeURLs() error {
	if len(c.URLs) == 0 {
		return errors.New("URLs is empty")
	}
	c.URLs = append([]string(nil), c.URLs...)
	for i, raw := range c.URLs {
		u, err := url.Parse(raw)
		if err != nil {
			return fmt.Errorf("URLs: %w", err)
		}
		u.Scheme = strings.Replace(u.Scheme, "http", "ws", 1)
		if u.Scheme != "ws" && u.Scheme != "wss" || u.Host == "" || u.User != nil {
			return fmt.Errorf("URLs: %q is no ws://host/ or wss://host/", u.Redacted())
		}
		c.URLs[i] = u.String()
	}
	return nil
}

func (c *Config) completeIdentity() error {
	c.Version = or(c.Version, Version2)
	switch {
	case c.Version != Version1 && c.Version != Version2:
		return fmt.Errorf("version %d of the protocol does not exist", c.Version)
	case c.Version == Version1 && c.State != (State{}):
		return errors.New("version 1 cannot go on from a State")
	case c.Username != "" && c.Pin != "" && !c.Create:
	case c.Create && (c.Username == "" || c.Pin == ""):
		return errors.New("an account needs a Username and a Pin")
	case !c.Create && c.State.Token == "":
		return errors.New("needs a Username and a Pin, or a State with a token")
	}
	return nil
}
