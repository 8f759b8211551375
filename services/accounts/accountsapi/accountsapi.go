// Package accountsapi is the internal HTTP interface of the accounts service:
// its types and a client. Paths carry a version; fields are only ever added.
package accountsapi

import (
	"context"

	"pymessage/internal/httpjson"
)

// Paths of the internal interface. All are POST with JSON bodies.
const (
	PathLogin  = "/internal/v1/login"
	PathCreate = "/internal/v1/users/create"
	PathLookup = "/internal/v1/users/lookup"
)

// MaxLookup is how many users one lookup may name.
const MaxLookup = 1000

// Credentials are what a person proves to be somebody with.
type Credentials struct {
	Username string `json:"username"`
	Pin      string `json:"pin"`
	Address  string `json:"address"` // the client's IP address, for throttling
}

// User is an account as others may see it.
type User struct {
	ID       int    `json:"id"` // 10000000 to 99999999
	Username string `json:"username"`
}

// LookupRequest is the body of PathLookup.
type LookupRequest struct {
	IDs []int `json:"ids"`
}

// LookupResponse holds the users that exist, in no particular order.
type LookupResponse struct {
	Users []User `json:"users"`
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
func (c *Client) Login(ctx context.Context, cred Credentials) (User, error) {
	var u User
	err := c.http.Post(ctx, PathLogin, cred, &u)
	return u, err
}

// Create makes an account. Faults: Invalid (username or pin break the rules),
// Conflict (the username is taken), TooMany, Unavailable (it may or may not have
// been made).
func (c *Client) Create(ctx context.Context, cred Credentials) (User, error) {
	var u User
	err := c.http.Post(ctx, PathCreate, cred, &u)
	return u, err
}

// Lookup finds users by id; ids that nobody has are left out. At most MaxLookup.
func (c *Client) Lookup(ctx context.Context, ids []int) ([]User, error) {
	var out LookupResponse
	err := c.http.Post(ctx, PathLookup, LookupRequest{ids}, &out)
	return out.Users, err
}
