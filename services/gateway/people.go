package gateway

import (
	"context"
	"errors"

	"pymessage/internal/bell"
	"pymessage/internal/fault"
	"pymessage/services/gateway/wire"
	"pymessage/services/social/socialapi"
)

// The requests of version 2 about other users.

func (c *conn) getRequests() {
	ctx, cancel := c.limit(requestTimeout)
	defer cancel()
	incoming, outgoing, err := c.srv.requestsOf(ctx, c.user.id)
	if err != nil {
		c.srv.log.Warn("friend requests could not be listed", "err", err)
		c.fail(wire.ErrRequestsFailed)
		return
	}
	c.reply(wire.RequestsResp(incoming, outgoing))
}

func (s *Server) requestsOf(ctx context.Context, user int) (incoming, outgoing []wire.Waiting, err error) {
	requests, err := s.social.Requests(ctx, user)
	if err != nil {
		return nil, nil, err
	}
	var ids []int
	for _, r := range append(requests.Incoming, requests.Outgoing...) {
		ids = append(ids, r.User)
	}
	names, err := s.names(ctx, ids)
	return withNames(requests.Incoming, names), withNames(requests.Outgoing, names), err
}

// withNames leaves out who is no more.
func withNames(requests []socialapi.Waiting, names map[int]string) (out []wire.Waiting) {
	for _, r := range requests {
		if name, ok := names[r.User]; ok {
			out = append(out, wire.Waiting{Username: name, ID: r.User, Since: r.Since})
		}
	}
	return out
}

func (c *conn) getBlocked() {
	ctx, cancel := c.limit(requestTimeout)
	defer cancel()
	ids, err := c.srv.social.Blocked(ctx, c.user.id)
	if err == nil {
		var blocked []wire.Friend
		if blocked, err = c.srv.named(ctx, ids); err == nil {
			c.reply(wire.BlockedResp(blocked))
			return
		}
	}
	c.srv.log.Warn("blocked users could not be listed", "err", err)
	c.fail(wire.ErrBlockedFailed)
}

func (c *conn) cancelRequest(user int64) {
	c.change(user, c.srv.social.Cancel, wire.CancelResp, func(err error) wire.Error {
		return failedOr(err, wire.CancelFailed(user), wire.NoRequestTo(user))
	})
}

func (c *conn) removeFriend(user int64) {
	c.change(user, c.srv.social.Remove, wire.RemoveResp, func(err error) wire.Error {
		return failedOr(err, wire.RemoveFailed(user), wire.NotFriend(user))
	})
}

func (c *conn) block(user int64) {
	c.change(user, c.srv.social.Block, wire.BlockResp, func(err error) wire.Error {
		return failedOr(err, wire.BlockFailed(user), wire.BlockFailed(user).ForGood())
	})
}

func (c *conn) unblock(user int64) {
	c.change(user, c.srv.social.Unblock, wire.UnblockResp, func(err error) wire.Error {
		return failedOr(err, wire.UnblockFailed(user), wire.NotBlocked(user))
	})
}

// failedOr is failed where the request may succeed later, and otherwise refused.
func failedOr(err error, failed, refused wire.Error) wire.Error {
	if errors.Is(err, fault.Unavailable) || fault.KindOf(err) == fault.Internal {
		return failed
	}
	return refused
}

func (c *conn) findUser(name string) {
	ctx, cancel := c.limit(requestTimeout)
	defer cancel()
	user, err := c.srv.accounts.Find(ctx, name)
	if err != nil {
		c.fail(failedOr(err, wire.ErrFindFailed, wire.ErrUserNotFound))
		return
	}
	c.reply(wire.UserResp(wire.Friend{Username: user.Username, ID: user.ID}))
}

func (c *conn) getHistory(req wire.Request) {
	ctx, cancel := c.limit(requestTimeout)
	defer cancel()
	page, err := c.srv.social.History(ctx, socialapi.HistoryRequest{
		User: c.user.id, Peer: int(req.User), BeforeUser: req.Event.User, BeforeSeq: req.Event.Seq, Limit: req.Limit,
	})
	if err != nil {
		c.fail(failedOr(err, wire.ErrHistoryFailed, wire.ErrHistoryFailed.ForGood()))
		return
	}
	messages := make([]wire.Said, len(page.Messages))
	for i, m := range page.Messages {
		messages[i] = wire.Said{ID: wire.EventID(m.Recipient, m.Seq), Sender: m.Sender, Content: m.Content, SentAt: m.SentAt}
		if m.Sender == c.user.id {
			messages[i].State = string(m.State)
		}
	}
	c.reply(wire.HistoryResp(req.User, messages, page.More))
}

func (c *conn) markRead(req wire.Request) {
	if req.Event.User != c.user.id {
		c.fail(wire.ErrReadFailed.ForGood()) // nobody reads the inbox of another
		return
	}
	ctx, cancel := c.limit(requestTimeout)
	defer cancel()
	marked, err := c.srv.social.MarkRead(ctx, socialapi.ReadMark{Reader: c.user.id, Peer: int(req.User), Seq: req.Event.Seq})
	if err != nil {
		c.fail(failedOr(err, wire.ErrReadFailed, wire.ErrReadFailed.ForGood()))
		return
	}
	id := wire.EventID(c.user.id, marked.Seq)
	c.reply(wire.ReadResp(req.User, id))
	if marked.Moved {
		c.tellRead(int(req.User), id, marked.Tell)
	}
}

// isUserKind says whether an event is about another user, and nothing else.
func isUserKind(kind bell.Kind) bool {
	switch kind {
	case bell.KindFriendRequest, bell.KindFriendAdded, bell.KindFriendRemoved, bell.KindRequestSent,
		bell.KindRequestClosed, bell.KindBlocked, bell.KindUnblocked:
		return true
	}
	return false
}
