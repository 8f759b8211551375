package httpjson

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"time"

	"pymessage/internal/fault"
)

const (
	dialTimeout = 2 * time.Second  // a pod that is gone must not hold a request for long
	idleTimeout = 90 * time.Second // shorter than the server's keep-alive, so that reuse seldom meets a closed connection
	idleConns   = 64               // per host: the lanes and the logins that run at once
)

// Client calls the internal HTTP interface of one service.
type Client struct {
	base   string
	secret string
	http   *http.Client
}

// NewClient makes a client of the service at base, a URL without a path.
func NewClient(base, secret string) *Client {
	dialer := &net.Dialer{Timeout: dialTimeout}
	return &Client{base: base, secret: secret, http: &http.Client{Transport: &http.Transport{
		DialContext:         dialer.DialContext,
		MaxIdleConnsPerHost: idleConns,
		IdleConnTimeout:     idleTimeout,
	}}}
}

// Close gives up idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Post sends in as JSON to path and decodes the answer into out (nil: ignored).
// The error is a fault: Unavailable when the service could not be reached, did
// not answer in time or broke off, in which case the request may or may not have
// been carried out; otherwise the kind that the service gave.
func (c *Client) Post(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(SecretHeader, c.secret)
	resp, err := c.http.Do(req)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "service unavailable")
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "service unavailable")
	}
	if resp.StatusCode != http.StatusOK {
		return decodeError(resp.StatusCode, answer)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fault.Wrap(fault.Unavailable, err, "service gave a broken answer")
	}
	return nil
}

func decodeError(status int, answer []byte) error {
	var body errorBody
	if err := json.Unmarshal(answer, &body); err != nil || body.Error.Code == "" {
		return fault.New(fault.KindOfStatus(status), "service answered with status %d", status)
	}
	return &fault.Error{Kind: fault.KindOfStatus(status), Message: body.Error.Message}
}
