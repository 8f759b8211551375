package client

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// loginPatience is how long a login may take: the server gives itself 15 s.
const loginPatience = 20 * time.Second

// enter logs the connection in, by token if there is one.
func (s *session) enter() error {
	c := s.c
	if token := c.sessionToken(); token != "" {
		err := s.resume(token)
		if !errors.Is(err, ErrTokenInvalid) || c.cfg.Pin == "" || c.loggedOut.Load() {
			return err
		}
		c.forgetToken() // run out or revoked, but we have the pin
	}
	f, err := s.enterByPin()
	if err != nil {
		return err
	}
	if err := s.entered(f); err != nil {
		return err
	}
	switch {
	case f.Type == "create_acc_resp" && s.epoch != "":
		c.track.at = cursor{epoch: s.epoch} // its log begins here
	case c.track.at.known():
		return errResume
	}
	return nil
}

func (s *session) resume(token string) error {
	at := s.c.track.at
	f, err := s.ask(&resumeRequest{head{Type: "resume"}, token, at.seq, at.epoch})
	if err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	return s.entered(f)
}

// enterByPin logs in, or makes the account. One that is there already is ours if the
// pin fits: it was made by an earlier run, or by a request whose answer was lost.
func (s *session) enterByPin() (*frame, error) {
	c := s.c
	if c.created {
		return s.credentials("login")
	}
	f, err := s.credentials("create_acc")
	if errors.Is(err, ErrUsernameTaken) {
		f2, err2 := s.credentials("login")
		if errors.Is(err2, ErrAccNotFound) {
			return nil, err // it is somebody else's
		}
		f, err = f2, err2
	}
	c.created = err == nil
	return f, err
}

func (s *session) credentials(kind string) (*frame, error) {
	f, err := s.ask(&loginRequest{head{Type: kind}, s.c.cfg.Username, s.c.cfg.Pin})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	return f, nil
}

// ask sends a request and reads its answer, while nobody else reads or writes.
func (s *session) ask(r request) (*frame, error) {
	var ref int64
	if !s.c.version1() {
		ref = s.c.refs.Add(1)
		r.number(ref)
	}
	if err := s.put(encode(r)); err != nil {
		return nil, err
	}
	s.limit = time.Now().Add(loginPatience)
	defer func() { s.limit = time.Time{} }()
	for {
		f, err := s.next()
		switch {
		case err != nil:
			return nil, err
		case f.Ref != ref:
			continue // an event of no interest yet
		case f.Type == "error":
			return nil, errorOf(f)
		}
		return f, nil
	}
}

// entered takes the answer of a login or resume.
func (s *session) entered(f *frame) error {
	c := s.c
	id, err := f.user()
	if err != nil {
		return fmt.Errorf("the answer to the login has no id: %w", err)
	}
	s.epoch = f.Epoch
	c.stats.logins.Add(1)
	c.mu.Lock()
	c.id = id
	if f.Token != "" {
		c.token = f.Token
	}
	c.mu.Unlock()
	if !c.isReady() {
		close(c.ready)
	}
	return nil
}

func (c *Client) sessionToken() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.token
}

func (c *Client) forgetToken() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = ""
}

// leave closes a connection that is not to be used, by the handshake. The server may
// be closing it already, and then its reason counts for more than err.
func (s *session) leave(err error) error {
	s.limit = time.Now().Add(closeGrace)
	var goodbye sync.WaitGroup
	goodbye.Go(func() {
		message := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
		_ = s.ws.WriteControl(websocket.CloseMessage, message, s.limit)
	})
	defer goodbye.Wait()
	defer s.ws.Close()
	for {
		_, ended := s.next()
		var closed *CloseError
		if errors.As(ended, &closed) && closed.forGood() {
			return fmt.Errorf("%w: %w", err, closed)
		}
		if ended != nil {
			return err
		}
	}
}
