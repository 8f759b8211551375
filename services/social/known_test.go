package social

import (
	"errors"
	"testing"

	"pymessage/internal/fault"
	"pymessage/services/social/socialapi"
)

func TestNothingIsStoredForUsersWhoDoNotExistUntilTheyDo(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	alice := w.users(1)[0]
	bob := alice + 1
	wantResults(t, w.send("lane", 1, message(alice, bob, "too early"), message(alice, alice, "note")),
		refused(socialapi.RefusedUnknown), seq(1))
	if n := w.value(`SELECT count(*) FROM inboxes WHERE user_id = $1`, bob); n != 0 {
		t.Error("an unknown user has an inbox")
	}
	w.users(1) // bob
	wantResults(t, w.send("lane", 2, message(alice, bob, "welcome")), seq(1))
	wantResults(t, w.send("lane", 1+2, message(alice, bob, "again")), seq(2))
	if n := w.accounts.timesAsked(bob); n != 2 {
		t.Errorf("accounts was asked %d times for bob", n)
	}
}

func TestWithoutAccountsThoseAreWrittenToWhomSocialKnows(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(3)
	w.send("lane", 1, message(u[0], u[1], "hi"))
	w.accounts.setBroken(true)
	batch := []socialapi.Message{message(u[0], u[1], "still here"), message(u[0], u[2], "who is that"), message(u[0], u[1], "and here")}
	want := []socialapi.Result{seq(2), refused(socialapi.RefusedUnavailable), seq(3)}
	wantResults(t, w.send("lane", 2, batch...), want...)
	w.start() // another pod, which finds u[1] in the store
	wantResults(t, w.send("lane", 3, batch[0]), seq(4))

	w.accounts.setBroken(false)
	w.send("lane", 4, batch[1])
	if got := len(w.inbox(u[2])); got != 1 {
		t.Errorf("%d messages where 1 was not refused", got)
	}
}

func TestWhoIsRememberedIsNotAskedForAgain(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(2)
	wantResults(t, w.send("lane", 1, message(u[0], u[1], "hi")), seq(1))
	w.accounts.setBroken(true)
	w.exec(`TRUNCATE inboxes, events`) // as a restore from before the message would
	wantResults(t, w.send("lane", 2, message(u[0], u[1], "hi again")), seq(1))
}

func TestARefusalForWantOfAccountsIsKeptLikeAnyResult(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(2)
	w.accounts.setBroken(true)
	wantResults(t, w.send("lane", 1, message(u[0], u[1], "hi")), refused(socialapi.RefusedUnavailable))
	w.accounts.setBroken(false)
	wantResults(t, w.send("lane", 1, message(u[0], u[1], "hi")), refused(socialapi.RefusedUnavailable))
	if got := len(w.inbox(u[1])); got != 0 {
		t.Errorf("a refused message was stored")
	}
}

func TestAFriendRequestNeedsBothUsersToExist(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(3)
	nobody := u[2] + 1
	for _, c := range []struct {
		actor, user int
		want        fault.Kind
	}{
		{u[0], nobody, fault.NotFound}, {nobody, u[0], fault.NotFound}, {u[0], 7, fault.NotFound},
		{u[0], 1 << 40, fault.NotFound}, {7, u[0], fault.Invalid}, {u[0], u[0], fault.Invalid},
	} {
		if _, err := w.client.Request(t.Context(), c.actor, c.user); !errors.Is(err, c.want) {
			t.Errorf("%d asks %d: %v, want %s", c.actor, c.user, err, c.want)
		}
	}
	if _, err := w.client.Request(t.Context(), u[0], u[1]); err != nil {
		t.Error(err)
	}
	w.accounts.setBroken(true)
	if _, err := w.client.Request(t.Context(), u[0], u[2]); !errors.Is(err, fault.Unavailable) {
		t.Errorf("a stranger without accounts: %v", err)
	}
	if _, err := w.client.Request(t.Context(), u[1], u[0]); err != nil {
		t.Errorf("two who are known, without accounts: %v", err)
	}
}

func TestTheMemoryOfUsersIsBoundedAndKeepsThoseInUse(t *testing.T) {
	t.Parallel()

	s := newRecent[int](100)
	s.add([]int{minID})
	for i := 1; i < 1000; i++ {
		s.add([]int{minID + i})
		if known := s.has([]int{minID, minID + i}); !known[0] || !known[1] {
			t.Fatalf("after %d users: of the 2 last used are remembered %v", i, known)
		}
		if n := len(s.young) + len(s.old); n > 101 {
			t.Fatalf("%d users are remembered", n)
		}
	}
	if s.has([]int{minID + 1})[0] {
		t.Error("who was not used is still remembered")
	}
}
