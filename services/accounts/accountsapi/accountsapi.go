// Package accountsapi is the internal HTTP interface of the accounts service:
// its types and a client. Paths carry a version; fields are only ever added.
package accountsapi

import (
	"context"

	"pymessage/internal/fault"
	"pymessage/internal/httpjson"
)

// Paths of the internal interface. All are POST with JSON bodies.
const (
	PathLogin  = "/internal/v1/login"
	PathCreate = "/internal/v1/users/create"
	PathLookup = "/internal/v1/users/lookup"
	PathResume = "/internal/v1/sessions/resume"
	PathEnd    = "/internal/v1/sessions/end"
	PathEnded  = "/internal/v1/sessions/ended"

	PathResumeMany = "/internal/v1/sessions/resume-many" // as httpjson.ManyEndpoint has them
)

// Limits of the interface.
const (
	MaxLookup   = 1000  // users in one LookupRequest
	MaxSessions = 10000 // sessions, and users, in one EndedRequest
	MaxResumes  = 1000  // tokens in one request to PathResumeMany
	MaxToken    = 64    // bytes of a token, and more than any has: a longer one is nobody's
)

// Credentials are what a person proves to be somebody with.
type Credentials struct {
	Username string `json:"username"`
	Pin      string `json:"pin"`
	Address  string `json:"address"`           // the client's IP address, for throttling
	Session  bool   `json:"session,omitempty"` // begin a session, with a token to resume it
}

// Session is what a token stands for. It ends when its token is revoked or runs
// out; no socket may outlive it by more than a moment.
type Session struct {
	User
	Session   string `json:"session,omitempty"`    // names it, and is no secret; empty where none was asked for
	Token     string `json:"token,omitempty"`      // the secret; given once, when the session begins
	ExpiresAt int64  `json:"expires_at,omitempty"` // Unix milliseconds
}

// User is an account as others may see it.
type User struct {
	ID       int    `json:"id"` // 10000000 to 99999999
	Username string `json:"username"`
}

// LookupRequest is the body of PathLookup.
type LookupRequest struct {
	IDs  []int  `json:"ids,omitempty"`
	Name string `json:"name,omitempty"` // one more, by username; upper and lower case are the same
}

// LookupResponse holds the users that exist, in no particular order.
type LookupResponse struct {
	Users []User `json:"users"`
}

// Token is the body of PathResume.
type Token struct {
	Token   string `json:"token"`
	Address string `json:"address"` // the client's IP address, for throttling
}

// EndRequest is the body of PathEnd: the session of User that is to end.
type EndRequest struct {
	User    int    `json:"user"`
	Session string `json:"session"`
}

// EndedRequest asks which of many sessions have ended, and which of many users are
// no more.
type EndedRequest struct {
	Sessions []string `json:"sessions"`
	Users    []int    `json:"users,omitempty"`
}

// EndedResponse names those sessions that have ended, and those users whose accounts
// were deleted.
type EndedResponse struct {
	Ended []string `json:"ended"`
	Gone  []int    `json:"gone,omitempty"`
}

// Client calls the accounts service.
type Client struct{ http *httpjson.Client }

// NewClient makes a client of the internal port at base.
func NewClient(base, secret string) *Client {
	return &Client{httpjson.NewClient(base, secret)}
}

// Close gives up idle connections.
func (c *Client) Close() { c.http.Close() }

// Login checks credentials. Faults: Unauthorized (unknown user or wrong pin,
// which look the same), TooMany (throttled), Unavailable (down, or its queue is
// full).
func (c *Client) Login(ctx context.Context, cred Credentials) (Session, error) {
	var s Session
	err := c.http.Post(ctx, PathLogin, cred, &s)
	return s, err
}

// Create makes an account. Faults: Invalid (username or pin break the rules),
// Conflict (the username is taken), TooMany, Unavailable (it may or may not have
// been made).
func (c *Client) Create(ctx context.Context, cred Credentials) (Session, error) {
	var s Session
	err := c.http.Post(ctx, PathCreate, cred, &s)
	return s, err
}

// Resume finds the session of a token. The answer carries no token. Faults:
// Unauthorized (no such token, revoked or run out), TooMany, Unavailable.
func (c *Client) Resume(ctx context.Context, t Token) (Session, error) {
	var s Session
	err := c.http.Post(ctx, PathResume, t, &s)
	return s, err
}

// ResumeMany finds the sessions of at most MaxResumes tokens. The answers are those of
// Resume, each by itself.
func (c *Client) ResumeMany(ctx context.Context, tokens []Token) ([]httpjson.Each[Session], error) {
	return httpjson.PostMany(ctx, c.http, PathResumeMany, tokens, c.Resume)
}

// End revokes a session. Accounts rings for it, so that its sockets end on every
// gateway. A session that has ended already is fine.
func (c *Client) End(ctx context.Context, r EndRequest) error {
	return c.http.Post(ctx, PathEnd, r, nil)
}

// Ended says which of the sessions have ended and which of the users are no more, for
// gateways that may have missed a ring. At most MaxSessions of either.
func (c *Client) Ended(ctx context.Context, r EndedRequest) (EndedResponse, error) {
	var out EndedResponse
	err := c.http.Post(ctx, PathEnded, r, &out)
	return out, err
}

// Lookup finds users by id; ids that nobody has are left out. At most MaxLookup.
func (c *Client) Lookup(ctx context.Context, ids []int) ([]User, error) {
	var out LookupResponse
	err := c.http.Post(ctx, PathLookup, LookupRequest{IDs: ids}, &out)
	return out.Users, err
}

// Find finds a user by name. Faults: NotFound.
func (c *Client) Find(ctx context.Context, name string) (User, error) {
	var out LookupResponse
	err := c.http.Post(ctx, PathLookup, LookupRequest{Name: name}, &out)
	if err == nil && len(out.Users) == 0 {
		err = fault.New(fault.NotFound, "there is no user of this name")
	}
	if err != nil {
		return User{}, err
	}
	return out.Users[0], nil
}
