package e2e

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"pymessage/client"
	"pymessage/internal/local"
)

// pair are the two gateways' URLs.
func pair(d *local.Deployment) (one, two string) {
	g := d.Gateways()
	return g[0].PublicURL, g[1].PublicURL
}

func TestTwoPeopleOnTwoGatewaysBecomeFriendsAndChat(t *testing.T) {
	t.Parallel()
	forVersions(t, func(t *testing.T, version int) {
		one, two := pair(deployment(t))

		alice, bob := join(t, one, version, "alice"), join(t, two, client.Version1+client.Version2-version, "bob")
		alice.hasFriends()
		alice.does(alice.RequestFriend(within(t), bob.id))
		bob.isAsked(alice.id)
		bob.does(bob.AcceptFriend(within(t), alice.id))
		alice.hasFriends(bob)
		bob.hasFriends(alice)
		alice.says(bob.id, "hello <bob> & ☃ \U0001F600")
		bob.hears(alice.id, "hello <bob> & ☃ \U0001F600")
		bob.says(bob.id, "a note to myself")
		bob.hears(bob.id, "a note to myself")
	})
}

func TestFriendRequestsObeyTheirRules(t *testing.T) {
	t.Parallel()
	one, two := pair(deployment(t))

	alice, bob, carol := join(t, one, 1, "alice"), join(t, two, 1, "bob"), join(t, one, 1, "carol")
	ctx := within(t)
	for _, nobody := range []int{alice.id, 5, 123456789012} {
		alice.isRefused(alice.RequestFriend(ctx, nobody), client.ErrRequestFailed)
	}
	alice.isRefused(alice.AcceptFriend(ctx, bob.id), client.ErrNoRequest)
	alice.isRefused(alice.DenyFriend(ctx, bob.id), client.ErrNoRequest)

	alice.does(alice.RequestFriend(ctx, bob.id))
	bob.isAsked(alice.id)
	alice.does(alice.RequestFriend(ctx, bob.id))                          // doubled: one request
	alice.isRefused(alice.AcceptFriend(ctx, bob.id), client.ErrNoRequest) // one's own cannot be accepted
	bob.does(bob.DenyFriend(ctx, alice.id))
	bob.isRefused(bob.AcceptFriend(ctx, alice.id), client.ErrNoRequest)
	alice.does(alice.RequestFriend(ctx, bob.id)) // denied: may be sent again
	bob.isAsked(alice.id)
	bob.does(bob.AcceptFriend(ctx, alice.id))
	alice.isRefused(alice.RequestFriend(ctx, bob.id), client.ErrRequestFailed) // friends already

	alice.does(alice.RequestFriend(ctx, carol.id)) // two that cross
	carol.isAsked(alice.id)
	carol.does(carol.RequestFriend(ctx, alice.id))
	alice.hasFriends(bob, carol)
	carol.hasFriends(alice)
}

func TestAFriendRequestReachesAnOfflineUserAndComesAtEveryLoginUntilItIsAnswered(t *testing.T) {
	t.Parallel()
	one, two := pair(deployment(t))

	alice, bob := join(t, one, 1, "alice"), join(t, two, 1, "bob")
	bob.leave()
	alice.does(alice.RequestFriend(within(t), bob.id))
	for i := range 4 { // whether confirmed as delivered or not
		bob = bob.again([]string{two, one}[i%2])
		bob.isAsked(alice.id)
		bob.hasFriends()
		if i < 3 {
			bob.leave()
		}
	}
	bob.does(bob.AcceptFriend(within(t), alice.id))
	bob.hasFriends(alice)
	bob.leave()
	bob = bob.again(two)
	alice.says(bob.id, "no request any more")
	bob.hears(alice.id, "no request any more")
}

func TestAMessageToWhoIsNotConnectedIsRefusedAndNotKept(t *testing.T) {
	t.Parallel()
	one, two := pair(deployment(t))

	alice, bob := join(t, one, 1, "alice"), join(t, two, 1, "bob")
	ctx := within(t)
	for _, nobody := range []int{5, 9999999, 100000000, 999999999999999999} {
		_, err := alice.Send(ctx, nobody, "hello?")
		alice.isRefused(err, client.ErrNotConnected)
	}
	bob.leave()
	_, err := alice.Send(ctx, bob.id, "gone?")
	for ; err == nil; _, err = alice.Send(ctx, bob.id, "gone?") { // the gateway may not have noticed yet
	}
	alice.isRefused(err, client.ErrNotConnected)
	_, err = alice.Send(ctx, bob.id, "not kept")
	alice.isRefused(err, client.ErrNotConnected)
	bob = bob.again(one)
	alice.says(bob.id, "last")
	for ev := bob.next(); ev.Content != "last"; ev = bob.next() {
		if ev.Content != "gone?" { // those were acknowledged
			t.Fatalf("got %+v", ev)
		}
	}
}

func TestOfTwelveWhoWantOneNameOneWins(t *testing.T) {
	t.Parallel()
	one, two := pair(deployment(t))

	cfg := client.Config{Username: uniqueName("wanted"), Create: true}
	won := make(chan bool, 12)
	var all sync.WaitGroup
	for i := range cap(won) {
		cfg.URLs, cfg.Pin = []string{[]string{one, two}[i%2]}, fmt.Sprint("pin of ", i)
		p := open(t, cfg)
		all.Go(func() {
			_, err := p.Ready(within(t))
			if err != nil && !errors.Is(err, client.ErrUsernameTaken) {
				t.Error(err)
			}
			won <- err == nil
		})
	}
	all.Wait()
	winners := 0
	for range cap(won) {
		if <-won {
			winners++
		}
	}
	if winners != 1 {
		t.Fatalf("%d won", winners)
	}
}

func TestOnlyFriendsMayWriteUnderThatPolicy(t *testing.T) {
	t.Parallel()
	d := ownDeployment(t, local.Options{Env: map[string][]string{"social": {"MESSAGE_POLICY=friends"}}})
	one, two := pair(d)

	alice, bob := join(t, one, 2, "alice"), join(t, two, 1, "bob")
	ctx := within(t)
	_, err := alice.Send(ctx, bob.id, "hi")
	alice.isRefused(err, client.ErrNotFriend)
	alice.does(alice.RequestFriend(ctx, bob.id))
	bob.isAsked(alice.id)
	bob.does(bob.AcceptFriend(ctx, alice.id))
	alice.says(bob.id, "hi, friend")
	bob.hears(alice.id, "hi, friend")
	bob.says(bob.id, "a note to myself")
	bob.hears(bob.id, "a note to myself")
}
