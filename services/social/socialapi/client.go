package socialapi

import (
	"context"

	"pymessage/internal/httpjson"
)

// Client calls the social service. Every method may return the fault
// Unavailable, after which it is not known whether the request was carried out.
type Client struct{ http *httpjson.Client }

// NewClient makes a client of the internal port at base.
func NewClient(base, secret string) *Client {
	return &Client{httpjson.NewClient(base, secret)}
}

// Close gives up idle connections.
func (c *Client) Close() { c.http.Close() }

func post[Out any](ctx context.Context, c *Client, path string, in any) (Out, error) {
	var out Out
	err := c.http.Post(ctx, path, in, &out)
	return out, err
}

// Send stores a batch. The same batch may be sent again until it is answered.
// Faults: Conflict (a later batch of the lane was stored already), Invalid.
func (c *Client) Send(ctx context.Context, b Batch) (BatchResult, error) {
	return post[BatchResult](ctx, c, PathSend, b)
}

// Open tells where a user's inbox stands.
func (c *Client) Open(ctx context.Context, user int) (Opening, error) {
	return post[Opening](ctx, c, PathOpen, UserRequest{user})
}

// Read gives a page of a user's inbox.
func (c *Client) Read(ctx context.Context, r ReadRequest) (Page, error) {
	return post[Page](ctx, c, PathRead, r)
}

// Heads gives the newest seqs of many inboxes.
func (c *Client) Heads(ctx context.Context, users []int) (Heads, error) {
	return post[Heads](ctx, c, PathHeads, HeadsRequest{users})
}

// SetPositions stores delivered positions.
func (c *Client) SetPositions(ctx context.Context, r PositionsRequest) error {
	return c.http.Post(ctx, PathPositions, r, nil)
}

// Friends lists a user's friends.
func (c *Client) Friends(ctx context.Context, user int) ([]int, error) {
	out, err := post[Friends](ctx, c, PathFriends, UserRequest{user})
	return out.Friends, err
}

// Request asks user to be actor's friend. A doubled request is one request; one
// that crosses user's own makes the friendship. Faults: NotFound (no such user),
// Invalid (oneself), Conflict (friends already), TooMany (too many requests wait
// for that user).
func (c *Client) Request(ctx context.Context, actor, user int) (Change, error) {
	return post[Change](ctx, c, PathRequest, FriendRequest{actor, user})
}

// Accept makes actor and user friends, if user asked for it. Faults: NotFound (no
// request from user).
func (c *Client) Accept(ctx context.Context, actor, user int) (Change, error) {
	return post[Change](ctx, c, PathAccept, FriendRequest{actor, user})
}

// Deny refuses user's request, which may be sent again. Faults: NotFound (no
// request from user).
func (c *Client) Deny(ctx context.Context, actor, user int) (Change, error) {
	return post[Change](ctx, c, PathDeny, FriendRequest{actor, user})
}
