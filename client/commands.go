package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	maxContent = 4096 // code points of a message
	maxNonce   = 64   // bytes
)

// command is a kind of request.
type command struct {
	answer string // the type of its answer
	// repeatable says that it does no harm to carry it out again.
	repeatable bool
	// retried are the errors after which it is tried again, in version 2.
	retried []Code
}

var (
	send = command{"send_resp", true, []Code{ErrTooManyRequests, ErrUnavailable, ErrSendFailed}}
	// getFriends changes nothing.
	getFriends = command{"friends_resp", true, []Code{ErrTooManyRequests, ErrUnavailable, ErrFriendsFailed}}
	// A second attempt to change a friendship fails because of the first, or undoes
	// what the other user has done meanwhile.
	requestFriend = command{"request_resp", false, []Code{ErrTooManyRequests}}
	addFriend     = command{"add_resp", false, []Code{ErrTooManyRequests}}
	denyFriend    = command{"deny_resp", false, []Code{ErrTooManyRequests}}
	logout        = command{"logout_resp", true, []Code{ErrTooManyRequests, ErrUnavailable}}
)

// Send sends a message. In version 2 it is repeated until it is answered or ctx
// ends, over connections that break and errors that pass, and stored once. In
// version 1 it fails with ErrUnknownOutcome when the connection breaks before the
// answer. Many may be under way at once; those of one goroutine, one after the
// other, arrive in order.
func (c *Client) Send(ctx context.Context, recipient int, content string) (SendResult, error) {
	nonce := ""
	if !c.version1() {
		nonce = rand.Text()
	}
	return c.send(ctx, nonce, recipient, content)
}

// SendOnce is Send with a nonce of the caller's, 1 to 64 bytes. The same message
// sent again with the same nonce within a week, by whatever process, is stored
// once: for those who keep what is to be sent. Version 2.
func (c *Client) SendOnce(ctx context.Context, nonce string, recipient int, content string) (SendResult, error) {
	switch {
	case c.version1():
		return SendResult{}, ErrVersion
	case nonce == "" || len(nonce) > maxNonce || !isText(nonce):
		return SendResult{}, badRequest("nonce must be a string of 1 to 64 bytes without NUL")
	}
	return c.send(ctx, nonce, recipient, content)
}

func (c *Client) send(ctx context.Context, nonce string, recipient int, content string) (SendResult, error) {
	// What the server would refuse does not get there: a frame that is far too long
	// would end the connection, and be sent again on the next.
	switch {
	case !isText(content):
		return SendResult{}, badRequest("content must be UTF-8 without NUL")
	case utf8.RuneCountInString(content) > maxContent:
		return SendResult{}, badRequest("content is longer than 4096 characters")
	}
	f, err := c.do(ctx, send, &sendRequest{head{Type: "send_msg"}, recipient, content, nonce})
	if err != nil {
		return SendResult{}, fmt.Errorf("send a message: %w", err)
	}
	return SendResult{Status: f.Status, ID: f.name(), SentAt: milli(f.SentAt)}, nil
}

func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

func badRequest(why string) error {
	return &Error{Code: ErrBadRequest, Message: "bad request: " + why}
}

// Friends lists the user's friends, in the order of becoming friends.
func (c *Client) Friends(ctx context.Context) ([]Friend, error) {
	f, err := c.do(ctx, getFriends, &head{Type: "get_friends"})
	if err != nil {
		return nil, fmt.Errorf("list friends: %w", err)
	}
	return f.Friends, nil
}

// RequestFriend asks a user to be a friend. Like all that change friendships it
// fails with ErrUnknownOutcome when the connection breaks before the answer.
func (c *Client) RequestFriend(ctx context.Context, user int) error {
	return c.change(ctx, requestFriend, "request_friend", user)
}

// AcceptFriend accepts the request of a user.
func (c *Client) AcceptFriend(ctx context.Context, user int) error {
	return c.change(ctx, addFriend, "add_friend", user)
}

// DenyFriend refuses the request of a user.
func (c *Client) DenyFriend(ctx context.Context, user int) error {
	return c.change(ctx, denyFriend, "deny_friend", user)
}

func (c *Client) change(ctx context.Context, cmd command, kind string, user int) error {
	if _, err := c.do(ctx, cmd, &userRequest{head{Type: kind}, user}); err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	return nil
}

// Logout ends the session: its token is of no use any more, and Run returns nil.
// Version 2.
func (c *Client) Logout(ctx context.Context) error {
	if c.version1() {
		return ErrVersion
	}
	c.loggedOut.Store(true)
	_, err := c.do(ctx, logout, &head{Type: "logout"})
	if err != nil && !errors.Is(err, ErrTokenInvalid) { // otherwise it was over already
		c.loggedOut.Store(false)
		return fmt.Errorf("log out: %w", err)
	}
	c.forgetToken()
	c.Close()
	return nil
}

// do has a request carried out. In version 2 it insists.
func (c *Client) do(ctx context.Context, cmd command, r request) (*frame, error) {
	var pauses backoff
	for {
		f, err := c.ask(ctx, cmd, r)
		var answer *Error
		if c.version1() || !errors.As(err, &answer) || !slices.Contains(cmd.retried, answer.Code) {
			return f, err
		}
		if !c.pause(ctx, max(answer.RetryAfter, pauses.next())) {
			return nil, c.givenUp(ctx, answer)
		}
	}
}

// pause is false if ctx or the client has ended before.
func (c *Client) pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.calls.over:
	case <-ctx.Done():
	}
	return false
}

// givenUp is the error of a request that was not tried again. Of all errors after
// which that is done, one says that the request was not carried out.
func (c *Client) givenUp(ctx context.Context, last *Error) error {
	why := ctx.Err()
	if why == nil {
		why = c.calls.err
	}
	if last.Code == ErrTooManyRequests {
		return fmt.Errorf("%w: %w", last, why)
	}
	return fmt.Errorf("%w: %w: %w", ErrUnknownOutcome, last, why)
}

// ask has a request sent and waits for its answer.
func (c *Client) ask(ctx context.Context, cmd command, r request) (*frame, error) {
	call := &call{answer: cmd.answer, repeatable: cmd.repeatable, outcome: make(chan outcome, 1)}
	if c.version1() {
		call.repeatable = cmd.answer == getFriends.answer
	} else {
		call.ref = c.refs.Add(1)
		r.number(call.ref)
	}
	call.data = encode(r)
	if err := c.calls.add(ctx, call); err != nil {
		return nil, err
	}
	select {
	case o := <-call.outcome:
		return o.frame, o.err
	case <-ctx.Done():
	}
	written, over := c.calls.abandon(call)
	switch {
	case over:
		o := <-call.outcome
		return o.frame, o.err
	case written:
		return nil, fmt.Errorf("%w: %w", ErrUnknownOutcome, ctx.Err())
	}
	return nil, ctx.Err()
}
