package chaos

import (
	"context"
	"errors"

	"pymessage/client"
)

// do does something by the Client, or by REST.
func (u *userC) do(ctx context.Context, d *Deed) {
	d.User = u.id
	if newest, ok := u.newest.Load(d.Peer); ok {
		d.Seq = newest.(int64)
	}
	token := u.current().State().Token
	if u.inFlight.Load() >= maxPending || d.Act == ActMark && d.Seq == 0 || d.REST && token == "" {
		d.giveUp()
		return
	}
	u.inFlight.Add(1)
	u.sends.Go(func() {
		defer u.inFlight.Add(-1)
		if d.REST {
			u.rest.do(ctx, u.rec, token, d)
			return
		}
		u.rec.deed(d)
		u.conclude(ctx, d, u.call(ctx, u.current(), d))
	})
}

// conclude notes what came of a deed.
func (u *userC) conclude(ctx context.Context, d *Deed, err error) {
	var answer *client.Error
	switch {
	case err == nil:
		u.rec.done(d, Acknowledged)
	case errors.Is(err, client.ErrUnknownOutcome), errors.Is(err, client.ErrClosed), ctx.Err() != nil:
		u.rec.abandon(d)
	case errors.As(err, &answer):
		outcome, ok := outcomeOf(string(answer.Code), answer.RetryAfter > 0)
		if !ok {
			u.rec.stray(u.id, "error", err.Error())
		}
		u.rec.done(d, outcome)
	default:
		u.rec.abandon(d)
		u.rec.stray(u.id, "error", err.Error())
	}
}

// call asks the Client.
func (u *userC) call(ctx context.Context, c *client.Client, d *Deed) (err error) {
	change := map[Act]func(context.Context, int) error{
		ActRequest: c.RequestFriend, ActAccept: c.AcceptFriend, ActDeny: c.DenyFriend, ActCancel: c.CancelRequest,
		ActRemove: c.RemoveFriend, ActBlock: c.Block, ActUnblock: c.Unblock, ActTyping: c.Typing,
	}
	if do := change[d.Act]; do != nil {
		return do(ctx, d.Peer)
	}
	var people []client.Friend
	switch d.Act {
	case ActFriends:
		people, err = c.Friends(ctx)
	case ActBlocked:
		people, err = c.Blocked(ctx)
	case ActFind:
		var found client.Friend
		found, err = c.FindUser(ctx, d.Name)
		people = []client.Friend{found}
	case ActRequests:
		var requests client.Requests
		requests, err = c.Requests(ctx)
		for _, r := range requests.Incoming {
			people = append(people, client.Friend{ID: r.ID})
		}
		for _, r := range requests.Outgoing {
			d.Outgoing = append(d.Outgoing, r.ID)
		}
	case ActMark:
		var marked string
		marked, err = c.MarkRead(ctx, d.Peer, eventID(d.User, d.Seq))
		if err == nil {
			_, d.Marked, _ = placeOf(marked)
		}
	case ActHistory:
		return u.history(ctx, c, d)
	}
	for _, p := range people {
		d.People = append(d.People, p.ID)
	}
	return err
}

func (u *userC) history(ctx context.Context, c *client.Client, d *Deed) error {
	page, err := c.History(ctx, d.Peer, d.Before, historyLimit)
	d.More = page.More
	for _, m := range page.Messages {
		d.Said = append(d.Said, Said{ID: m.ID, Sender: m.Sender, Content: m.Content, SentAt: m.SentAt.UnixMilli(), State: string(m.State)})
	}
	return err
}
