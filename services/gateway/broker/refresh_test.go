package broker_test

import (
	"context"
	"testing"

	"pymessage/internal/testenv"
)

// neverForgets asks b's memory for users again and again while it grows old. Only the
// refreshing keeps them in it, since the memory itself asks nobody.
func neverForgets(t *testing.T, b *bundle, users []int) {
	t.Helper()
	b.Connected(context.Background(), users)
	for range 4 { // two lives
		b.Age()
		for _, user := range users {
			if !b.Remembers(user) {
				t.Fatalf("%d, who was asked for all the time, was forgotten", user)
			}
		}
		for _, user := range users {
			eventually(t, "a user is found again", func() bool { return b.Fresh(user) })
		}
	}
}

func TestWhoIsAskedForAllTheTimeIsNeverForgotten(t *testing.T) {
	t.Parallel()
	url, prefix := testenv.Redis(t)

	a, b := setup(t, url, prefix), setup(t, url, prefix)
	await(t, "a's connection", a.restored)
	var users []int
	for i := range 600 { // more than one question
		users = append(users, 10000000+i)
		await(t, "a subscription", b.Subscribe(users[i]))
	}
	neverForgets(t, a, users)
}

// pair are two brokers, of which one remembers users of the other.
type pair struct{ asks, has *bundle }

func newPair(t *testing.T, url, prefix string, users ...int) pair {
	t.Helper()
	p := pair{setup(t, url, prefix), setup(t, url, prefix)}
	await(t, "a connection", p.asks.restored)
	for _, user := range users {
		await(t, "a subscription", p.has.Subscribe(user))
	}
	p.asks.Connected(context.Background(), users)
	return p
}

func TestWhoIsNotAskedForAnyMoreIsForgotten(t *testing.T) {
	t.Parallel()
	url, prefix := testenv.Redis(t)
	const asked, not = 10000001, 10000002

	p := newPair(t, url, prefix, asked, not)
	p.asks.Age()
	p.asks.Remembers(asked)
	eventually(t, "who was asked for is found again", func() bool { return p.asks.Fresh(asked) })
	if p.asks.Fresh(not) {
		t.Error("Redis was asked for somebody whom nobody asks for")
	}
	p.asks.Age()
	if !p.asks.Holds(asked) || p.asks.Holds(not) {
		t.Error("the wrong one was forgotten")
	}
}

func TestWhoLeftIsNotFoundAgain(t *testing.T) {
	t.Parallel()
	url, prefix := testenv.Redis(t)
	const stays, leaves = 10000001, 10000002

	p := newPair(t, url, prefix, stays, leaves)
	p.asks.Age()
	if !p.asks.Remembers(leaves) || !p.asks.Remembers(stays) {
		t.Fatal("they are not remembered")
	}
	p.has.Unsubscribe(leaves)
	eventually(t, "it is told that the user left", func() bool { return !p.asks.Holds(leaves) })
	eventually(t, "who stays is found again", func() bool { return p.asks.Fresh(stays) })
	if p.asks.Holds(leaves) {
		t.Error("who left was found again")
	}
}

func TestWhoLeftUntoldIsNotFoundAgain(t *testing.T) {
	t.Parallel()
	url, prefix := testenv.Redis(t)
	const stays, leaves = 10000001, 10000002

	p := newPair(t, url, prefix, stays, leaves)
	left := make(chan struct{})
	p.has.left = func(int, []int) { close(left) } // and tells nobody, like a gateway that is killed
	p.has.Unsubscribe(leaves)
	await(t, "the end of a subscription", left)
	p.asks.Age()
	if !p.asks.Remembers(leaves) || !p.asks.Remembers(stays) {
		t.Fatal("they are not remembered")
	}
	eventually(t, "who stays is found again", func() bool { return p.asks.Fresh(stays) })
	p.asks.Age()
	if p.asks.Holds(leaves) || !p.asks.Holds(stays) {
		t.Error("the wrong one was forgotten")
	}
}

func TestWithoutAnAnswerNobodyIsFoundAgain(t *testing.T) {
	t.Parallel()
	server := testenv.RedisServer(t)
	const user, unknown = 10000001, "pymessage_broker_presence_unknown_total"

	p := newPair(t, server.URL(), "unanswered", user)
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	p.asks.Age()
	if !p.asks.Remembers(user) {
		t.Fatal("the user is not remembered")
	}
	eventually(t, "the question fails", func() bool { return p.asks.metric(t, unknown) > 0 })
	if p.asks.Fresh(user) {
		t.Error("the user was found again by nobody")
	}
	if err := server.Thaw(); err != nil {
		t.Fatal(err)
	}
}
