package client

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// What only version 2 has, about other users.

var (
	getRequests   = command{"requests_resp", true, []Code{ErrTooManyRequests, ErrUnavailable, ErrRequestsFailed}}
	getBlocked    = command{"blocked_resp", true, []Code{ErrTooManyRequests, ErrUnavailable, ErrBlockedFailed}}
	findUser      = command{"user_resp", true, []Code{ErrTooManyRequests, ErrUnavailable, ErrFindFailed}}
	getHistory    = command{"history_resp", true, []Code{ErrTooManyRequests, ErrUnavailable}}
	markRead      = command{"read_resp", true, []Code{ErrTooManyRequests, ErrUnavailable}}
	watchPresence = command{"presence_resp", true, []Code{ErrTooManyRequests, ErrUnavailable, ErrPresenceFailed}}
	typing        = command{"typing_resp", false, nil}
	cancelRequest = command{"cancel_resp", false, []Code{ErrTooManyRequests}}
	removeFriend  = command{"remove_resp", false, []Code{ErrTooManyRequests}}
	block         = command{"block_resp", true, []Code{ErrTooManyRequests}}
	unblock       = command{"unblock_resp", false, []Code{ErrTooManyRequests}}
)

// FriendWaiter is the other user of a friend request that waits for an answer.
type FriendWaiter struct {
	Username string `json:"username"`
	ID       int    `json:"id"`
	SinceMS  int64  `json:"since"` // Unix milliseconds
}

// Requests are the friend requests without an answer, oldest first.
type Requests struct {
	Incoming []FriendWaiter `json:"incoming"`
	Outgoing []FriendWaiter `json:"outgoing"`
}

// MessageState is how far a message of one's own has come. Each implies those before
// it.
type MessageState string

// The states of a message.
const (
	Stored       MessageState = "stored"
	WasDelivered MessageState = "delivered" // confirmed by the recipient's client
	WasRead      MessageState = "read"      // the recipient said so, by MarkRead
)

// History is a page of a conversation, oldest message first.
type History struct {
	Messages []HistoryMessage
	More     bool // there are older ones
}

// HistoryMessage is a message of a conversation.
type HistoryMessage struct {
	ID      string // the recipient's Event.ID, the sender's SendResult.ID
	Sender  int
	Content string
	SentAt  time.Time
	State   MessageState // of one's own
}

type said struct {
	ID      string       `json:"id"`
	Sender  int          `json:"sender"`
	Content string       `json:"content"`
	SentAt  int64        `json:"sent_at"`
	State   MessageState `json:"state"`
}

// Requests lists the friend requests without an answer. Version 2, as all that follows.
func (c *Client) Requests(ctx context.Context) (Requests, error) {
	var out Requests
	if err := c.read(ctx, getRequests, &head{Type: "get_requests"}, &out); err != nil {
		return Requests{}, fmt.Errorf("list friend requests: %w", err)
	}
	return out, nil
}

// CancelRequest takes back one's friend request to a user.
func (c *Client) CancelRequest(ctx context.Context, user int) error {
	return c.change2(ctx, cancelRequest, "cancel_request", user)
}

// RemoveFriend ends a friendship.
func (c *Client) RemoveFriend(ctx context.Context, user int) error {
	return c.change2(ctx, removeFriend, "remove_friend", user)
}

// Block keeps a user away: friendship and requests end, and neither can write to the
// other or ask for friendship. To block twice is to block once.
func (c *Client) Block(ctx context.Context, user int) error {
	return c.change2(ctx, block, "block", user)
}

// Unblock ends a block.
func (c *Client) Unblock(ctx context.Context, user int) error {
	return c.change2(ctx, unblock, "unblock", user)
}

// Blocked lists whom the user blocks, in the order of blocking.
func (c *Client) Blocked(ctx context.Context) ([]Friend, error) {
	var out struct {
		Blocked []Friend `json:"blocked"`
	}
	if err := c.read(ctx, getBlocked, &head{Type: "get_blocked"}, &out); err != nil {
		return nil, fmt.Errorf("list blocked users: %w", err)
	}
	return out.Blocked, nil
}

// FindUser finds a user by the whole name.
func (c *Client) FindUser(ctx context.Context, username string) (Friend, error) {
	var out struct {
		User Friend `json:"user"`
	}
	if err := c.read(ctx, findUser, &findRequest{head{Type: "find_user"}, username}, &out); err != nil {
		return Friend{}, fmt.Errorf("find a user: %w", err)
	}
	return out.User, nil
}

// History gives the newest messages of the conversation with a user, at most limit, 1
// to 200; of those before the message with the id before, if it is not empty.
func (c *Client) History(ctx context.Context, user int, before string, limit int) (History, error) {
	var out struct {
		Messages []said `json:"messages"`
		More     bool   `json:"more"`
	}
	if err := c.read(ctx, getHistory, &historyRequest{head{Type: "get_history"}, user, before, limit}, &out); err != nil {
		return History{}, fmt.Errorf("get history: %w", err)
	}
	h := History{More: out.More}
	for _, m := range out.Messages {
		h.Messages = append(h.Messages, HistoryMessage{m.ID, m.Sender, m.Content, milli(m.SentAt), m.State})
	}
	return h, nil
}

// MarkRead says that the user has read what peer sent, up to the event with an id. It
// gives the id up to which that is so: the mark never moves back.
func (c *Client) MarkRead(ctx context.Context, peer int, id string) (string, error) {
	var out struct {
		ID string `json:"id"`
	}
	if err := c.read(ctx, markRead, &readRequest{head{Type: "mark_read"}, peer, id}, &out); err != nil {
		return "", fmt.Errorf("mark as read: %w", err)
	}
	return out.ID, nil
}

// Typing tells a friend that the user types a message; the server passes on at most
// one each 3 s.
func (c *Client) Typing(ctx context.Context, user int) error {
	return c.change2(ctx, typing, "typing", user)
}

// WatchPresence gives the friends who are connected. From then on OnPassing hears of
// Online and Offline, until the connection breaks: call it again from OnSynced.
func (c *Client) WatchPresence(ctx context.Context) ([]int, error) {
	var out struct {
		Online []int `json:"online"`
	}
	if err := c.read(ctx, watchPresence, &head{Type: "watch_presence"}, &out); err != nil {
		return nil, fmt.Errorf("watch presence: %w", err)
	}
	return out.Online, nil
}

func (c *Client) change2(ctx context.Context, cmd command, kind string, user int) error {
	if c.version1() {
		return ErrVersion
	}
	return c.change(ctx, cmd, kind, user)
}

// read has a request carried out and reads its answer.
func (c *Client) read(ctx context.Context, cmd command, r request, answer any) error {
	if c.version1() {
		return ErrVersion
	}
	f, err := c.do(ctx, cmd, r)
	if err != nil {
		return err
	}
	return json.Unmarshal(f.raw, answer)
}
