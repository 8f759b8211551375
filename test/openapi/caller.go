package openapi

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"testing"
)

// Caller uses a service as its document says, to which every request and answer is
// held. A copy with another token is another user.
type Caller struct {
	T        testing.TB
	Document *Document
	Base     string // of all URLs, without a slash at the end
	Token    string // none: empty
}

// Raw is a body that is sent as it is.
type Raw struct{ Type, Text string }

// As is the same caller with another token.
func (c Caller) As(token string) Caller {
	c.Token = token
	return c
}

// Do sends a request with body as JSON, unless it is nil or Raw, and decodes the answer.
func (c Caller) Do(method, path string, body any) (status int, answer map[string]any) {
	c.T.Helper()
	raw, ok := body.(Raw)
	if body != nil && !ok {
		text, err := json.Marshal(body)
		if err != nil {
			c.T.Fatal(err)
		}
		raw = Raw{"application/json", string(text)}
	}
	req, err := http.NewRequestWithContext(c.T.Context(), method, c.Base+path, bytes.NewReader([]byte(raw.Text)))
	if err != nil {
		c.T.Fatal(err)
	}
	if raw.Type != "" {
		req.Header.Set("Content-Type", raw.Type)
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	return c.send(req)
}

func (c Caller) send(req *http.Request) (status int, answer map[string]any) {
	c.T.Helper()
	resp, err := c.Document.Client(c.T).Do(req)
	if err != nil {
		c.T.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.T.Fatal(err)
	}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &answer); err != nil {
			c.T.Fatalf("%s %s: %q: %v", req.Method, req.URL, text, err)
		}
	}
	return resp.StatusCode, answer
}

// Want sends a request that must be answered with this status.
func (c Caller) Want(status int, method, path string, body any) (answer map[string]any) {
	c.T.Helper()
	got, answer := c.Do(method, path, body)
	if got != status {
		c.T.Fatalf("%s %s: %d %v, want %d", method, path, got, answer, status)
	}
	return answer
}

// WantError sends a request that must fail like this.
func (c Caller) WantError(status int, code, method, path string, body any) {
	c.T.Helper()
	answer := c.Want(status, method, path, body)
	if failure, ok := answer["error"].(map[string]any); !ok || failure["code"] != code {
		c.T.Errorf("%s %s: error %v, want %s", method, path, answer, code)
	}
}
