package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
)

// rest asks by REST, at host:port. Each request has a connection of its own, so that
// it meets all faults of the network.
type rest string

var restClient = http.Client{Timeout: dialPatience, Transport: &http.Transport{DisableKeepAlives: true}}

// ask makes a request. An error is a request of which nothing is known.
func (r rest) ask(ctx context.Context, token, method, path string, body any) (status int, answer []byte, err error) {
	var text io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		text = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+string(r)+path, text)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := restClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// do does a deed and records what came of it. A session that is over has done
// nothing.
func (r rest) do(ctx context.Context, rec *recorder, token string, d *Deed) {
	w := ways[d.Act]
	rec.deed(d)
	status, answer, err := r.ask(ctx, token, w.method, d.path(), d.body())
	switch {
	case err != nil || status >= 500:
		rec.abandon(d)
	case status < 300:
		if err := d.read(answer); err != nil {
			rec.stray(d.User, "an answer by REST to "+string(d.Act), string(answer))
		}
		outcome := Acknowledged
		if d.Act == ActFind && len(d.People) == 0 {
			outcome = Refused
		}
		rec.done(d, outcome)
	case status == http.StatusNotFound, status == http.StatusConflict:
		rec.done(d, Refused)
	default:
		rec.done(d, Failed)
		if status != http.StatusUnauthorized && status != http.StatusTooManyRequests {
			rec.stray(d.User, "an error by REST after "+string(d.Act), string(answer))
		}
	}
}

// enter begins a session. The token is empty if that is refused.
func (r rest) enter(ctx context.Context, name string) (token string, status int, err error) {
	status, answer, err := r.ask(ctx, "", http.MethodPost, "/accounts/v1/sessions", map[string]string{"username": name, "pin": pin})
	if err != nil || status != http.StatusCreated {
		return "", status, err
	}
	var session struct{ Session struct{ Token string } }
	err = json.Unmarshal(answer, &session)
	return session.Session.Token, status, err
}
