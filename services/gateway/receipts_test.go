package gateway

import (
	"maps"
	"testing"

	"pymessage/internal/bell"
)

func TestASocketRemembersWhoSentWhatUntilItIsConfirmed(t *testing.T) {
	t.Parallel()

	var u unconfirmed
	for seq, peer := range []int{1, 2, 1, 3, 3} {
		u.note(bell.Event{Seq: int64(seq + 1), Peer: peer})
	}
	for _, c := range []struct {
		upTo int64
		want map[int]int64
	}{{0, nil}, {3, map[int]int64{1: 3, 2: 2}}, {3, nil}, {4, map[int]int64{3: 4}}, {9, map[int]int64{3: 5}}, {9, nil}} {
		if got := u.confirm(c.upTo); !maps.Equal(got, c.want) {
			t.Errorf("up to %d: %v, want %v", c.upTo, got, c.want)
		}
	}
	if u.messages != nil {
		t.Error("an idle socket keeps memory")
	}
}

func TestWhatASocketRemembersIsBoundedAndItsNewestSenderIsNotForgotten(t *testing.T) {
	t.Parallel()

	var u unconfirmed
	const messages = 3 * maxUnconfirmed
	for seq := range messages {
		u.note(bell.Event{Seq: int64(seq + 1), Peer: 1})
	}
	if len(u.messages) > maxUnconfirmed {
		t.Errorf("%d messages are remembered", len(u.messages))
	}
	if got := u.confirm(messages); got[1] != messages {
		t.Errorf("confirmed up to %d: %v", messages, got)
	}
	u.note(bell.Event{Seq: messages + 1, Peer: 2})
	u.forget() // another log
	if got := u.confirm(1 << 40); got != nil {
		t.Errorf("of a log that is no more: %v", got)
	}
}

func TestOnlyWhoMayUseAReceiptGetsOne(t *testing.T) {
	t.Parallel()

	for _, c := range []struct {
		event bell.Event
		want  bool
	}{
		{bell.Event{Kind: bell.KindMessage, Peer: 2}, true},
		{bell.Event{Kind: bell.KindMessage, Peer: 2, Quiet: true}, false}, // of version 1
		{bell.Event{Kind: bell.KindMessage, Peer: 1}, false},              // to oneself
		{bell.Event{Kind: bell.KindFriendRequest, Peer: 2}, false},
	} {
		if got := wantsReceipt(c.event, 1); got != c.want {
			t.Errorf("%+v: %v", c.event, got)
		}
	}
}

func TestAGatewayThatIsAloneWithAUserPublishesNoMoreCopiesUntilAnotherJoins(t *testing.T) {
	t.Parallel()

	b := setup(t)
	alice, _ := b.enter2(t, "alice")
	alice.expect(`{"type":"synced","seq":0}`)
	f := b.hub.find(alice.id)
	alone := func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return !f.copies.aloneUntil.IsZero()
	}
	f.heardBy(2, 0)
	if alone() {
		t.Error("two heard of a copy, and it believes to be alone")
	}
	f.heardBy(1, 0)
	if !alone() {
		t.Error("only this gateway heard of a copy, and it goes on publishing")
	}
	b.hub.Deliver(alice.id, bell.Envelope{Passing: &bell.Passing{Kind: bell.PassingJoined, From: b.name}})
	if !alone() {
		t.Error("its own notice counts as another gateway's")
	}
	b.hub.Deliver(alice.id, bell.Envelope{Passing: &bell.Passing{Kind: bell.PassingJoined, From: "another"}})
	if alone() {
		t.Error("it believes to be alone after another has joined")
	}
	f.heardBy(1, 0) // of a copy from before the other joined
	if alone() {
		t.Error("a copy from before tells that it is alone")
	}
}
