package socialapi

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"pymessage/internal/fault"
	"pymessage/internal/httpjson"
	"pymessage/internal/stream"
)

// Client calls the social service. Every method may return the fault
// Unavailable, after which it is not known whether the request was carried out.
// Changes between users are tried a few times before.
type Client struct {
	http     *httpjson.Client
	sends    *stream.Client
	postTill atomic.Int64 // until when batches are posted, in Unix nanoseconds
}

// NewClient makes a client of the internal port at base.
func NewClient(base, secret string) *Client {
	return &Client{
		http:  httpjson.NewClient(base, secret),
		sends: stream.NewClient(strings.TrimSuffix(base, "/")+PathSendStream, secret),
	}
}

// Close gives up idle connections.
func (c *Client) Close() {
	c.http.Close()
	c.sends.Close()
}

func post[Out any](ctx context.Context, c *Client, path string, in any) (Out, error) {
	var out Out
	err := c.http.Post(ctx, path, in, &out)
	return out, err
}

// Send stores a batch. The same batch may be sent again until it is answered.
// Faults: Conflict (a later batch of the lane was stored already), Invalid.
func (c *Client) Send(ctx context.Context, b Batch) (out BatchResult, err error) {
	if time.Now().UnixNano() < c.postTill.Load() {
		return post[BatchResult](ctx, c, PathSend, b)
	}
	err = c.sends.Call(ctx,
		func(call []byte) []byte { return AppendBatch(call, b) },
		func(answer []byte) (err error) {
			out, err = DecodeBatchResult(answer)
			return err
		})
	if errors.Is(err, stream.ErrNotSpoken) {
		c.postTill.Store(time.Now().Add(postFor).UnixNano())
		return post[BatchResult](ctx, c, PathSend, b)
	}
	return out, err
}

// postFor is for how long batches are posted to a service of the version before, until
// it is tried whether there is one of this version.
const postFor = 10 * time.Second

// Open tells where a user's inbox stands.
func (c *Client) Open(ctx context.Context, user int) (Opening, error) {
	return post[Opening](ctx, c, PathOpen, UserRequest{user})
}

// Read gives a page of a user's inbox.
func (c *Client) Read(ctx context.Context, r ReadRequest) (Page, error) {
	return post[Page](ctx, c, PathRead, r)
}

// OpenMany tells where the inboxes of at most MaxOpens users stand. The answers are those
// of Open, each by itself.
func (c *Client) OpenMany(ctx context.Context, users []UserRequest) ([]httpjson.Each[Opening], error) {
	return httpjson.PostMany(ctx, c.http, PathOpenMany, users, func(ctx context.Context, r UserRequest) (Opening, error) {
		return c.Open(ctx, r.User)
	})
}

// ReadMany gives short pages of at most MaxReads inboxes: of up to MaxShort events, and
// not many more than ShortBytes, so that nobody waits long for the page of another. The
// answers are those of Read, each by itself.
func (c *Client) ReadMany(ctx context.Context, reads []ReadRequest) ([]httpjson.Each[Page], error) {
	return httpjson.PostMany(ctx, c.http, PathReadMany, reads, c.Read)
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

// FriendsOf lists the friends of at most MaxFriends users.
func (c *Client) FriendsOf(ctx context.Context, users []int) (map[int][]int, error) {
	out, err := post[FriendsOf](ctx, c, PathFriendsOf, FriendsOfRequest{users})
	return out.Friends, err
}

// AreFriends says whether two users are friends.
func (c *Client) AreFriends(ctx context.Context, actor, user int) (bool, error) {
	out, err := post[Between](ctx, c, PathBetween, FriendRequest{Actor: actor, User: user})
	return out.Friends, err
}

// Requests lists the friend requests of a user that wait for an answer.
func (c *Client) Requests(ctx context.Context, user int) (Requests, error) {
	return post[Requests](ctx, c, PathRequests, UserRequest{user})
}

// Blocked lists whom a user blocks.
func (c *Client) Blocked(ctx context.Context, user int) ([]int, error) {
	out, err := post[Blocked](ctx, c, PathBlocked, UserRequest{user})
	return out.Blocked, err
}

const (
	// changeTries is how often a change is asked for whose answer does not come: a pod
	// that dies takes its answers along, and another one is there.
	changeTries = 3
	// changeTimeout bounds one of these, changePause is between them.
	changeTimeout = 2 * time.Second
	changePause   = 50 * time.Millisecond
)

// change asks for a change of what is between two users; if the answer is lost, again.
func (c *Client) change(ctx context.Context, path string, actor, user int) (out Change, err error) {
	for try := range changeTries {
		out, err = c.tryChange(ctx, path, FriendRequest{Actor: actor, User: user, Again: try > 0})
		if !errors.Is(err, fault.Unavailable) {
			break
		}
		select {
		case <-time.After(changePause):
		case <-ctx.Done():
			return out, err
		}
	}
	return out, err
}

func (c *Client) tryChange(ctx context.Context, path string, r FriendRequest) (Change, error) {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	return post[Change](ctx, c, path, r)
}

// Request asks user to be actor's friend. A doubled request is one request; one
// that crosses user's own makes the friendship. Faults: NotFound (no such user, or
// one of the two blocks the other), Invalid (oneself), Conflict (friends already),
// TooMany (too many requests wait for that user).
func (c *Client) Request(ctx context.Context, actor, user int) (Change, error) {
	return c.change(ctx, PathRequest, actor, user)
}

// Accept makes actor and user friends, if user asked for it. Faults: NotFound (no
// request from user).
func (c *Client) Accept(ctx context.Context, actor, user int) (Change, error) {
	return c.change(ctx, PathAccept, actor, user)
}

// Deny refuses user's request, which may be sent again. Faults: NotFound (no
// request from user).
func (c *Client) Deny(ctx context.Context, actor, user int) (Change, error) {
	return c.change(ctx, PathDeny, actor, user)
}

// Cancel takes back actor's request to user. Faults: NotFound (there is none).
func (c *Client) Cancel(ctx context.Context, actor, user int) (Change, error) {
	return c.change(ctx, PathCancel, actor, user)
}

// Remove ends a friendship. Faults: NotFound (there is none).
func (c *Client) Remove(ctx context.Context, actor, user int) (Change, error) {
	return c.change(ctx, PathRemove, actor, user)
}

// Block keeps user away from actor: friendship and requests end, and neither can
// write to the other or ask for friendship. Blocking twice is blocking once. Faults:
// NotFound (no such user), Invalid (oneself).
func (c *Client) Block(ctx context.Context, actor, user int) (Change, error) {
	return c.change(ctx, PathBlock, actor, user)
}

// Unblock ends a block of actor's. Faults: NotFound (there is none).
func (c *Client) Unblock(ctx context.Context, actor, user int) (Change, error) {
	return c.change(ctx, PathUnblock, actor, user)
}

// History gives a page of a conversation. Faults: NotFound (no such message to end
// before), Invalid.
func (c *Client) History(ctx context.Context, r HistoryRequest) (History, error) {
	return post[History](ctx, c, PathHistory, r)
}

// MarkRead moves a read mark forward, never back. Faults: NotFound (no such event).
func (c *Client) MarkRead(ctx context.Context, r ReadMark) (Marked, error) {
	return post[Marked](ctx, c, PathMarkRead, r)
}

// Delete deletes a part of what there is of a user whose account is deleted.
func (c *Client) Delete(ctx context.Context, r DeleteRequest) (DeleteResponse, error) {
	return post[DeleteResponse](ctx, c, PathDelete, r)
}
