package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"

	"pymessage/internal/local"
)

// pair are the two gateways' URLs.
func pair(d *local.Deployment) (one, two string) {
	g := d.Gateways()
	return g[0].PublicURL, g[1].PublicURL
}

func TestTwoPeopleOnTwoGatewaysBecomeFriendsAndChat(t *testing.T) {
	t.Parallel()
	one, two := pair(deployment(t))

	alice, bob := create(t, one, "alice"), create(t, two, "bob")
	alice.expectFriends()
	alice.about("request_friend", bob.id)
	alice.expect(requested)
	bob.expect(fmt.Sprintf(`{"type":"friend_request","user":%d}`, alice.id))
	bob.about("add_friend", alice.id)
	bob.expect(added)
	alice.expectFriends(bob)
	bob.expectFriends(alice)
	alice.message(bob.id, "hello <bob> & ☃ \U0001F600")
	alice.expect(sent)
	bob.expectMessage(alice.id, "hello <bob> & ☃ \U0001F600")
	bob.raw(fmt.Sprintf(`{"type":"send_msg","recipient":"%d","content":"id as a string"}`, alice.id))
	bob.expect(sent)
	alice.expectMessage(bob.id, "id as a string")
}

func TestFriendRequestsObeyTheirRules(t *testing.T) {
	t.Parallel()
	one, two := pair(deployment(t))

	alice, bob, carol := create(t, one, "alice"), create(t, two, "bob"), create(t, one, "carol")
	failed := func(user int) string { return fmt.Sprintf("failed to send friend request to %d", user) }
	none := func(user int) string { return fmt.Sprintf("no friend request from %d", user) }

	alice.about("request_friend", alice.id)
	alice.expectError(failed(alice.id))
	alice.about("request_friend", 5)
	alice.expectError(failed(5))
	alice.about("request_friend", 123456789012)
	alice.expectError(failed(123456789012))
	alice.about("add_friend", bob.id)
	alice.expectError(none(bob.id))
	alice.about("deny_friend", bob.id)
	alice.expectError(none(bob.id))

	alice.about("request_friend", bob.id)
	alice.expect(requested)
	bob.expect(fmt.Sprintf(`{"type":"friend_request","user":%d}`, alice.id))
	alice.about("request_friend", bob.id) // doubled: one request
	alice.expect(requested)
	alice.about("add_friend", bob.id) // one's own cannot be accepted
	alice.expectError(none(bob.id))
	bob.about("deny_friend", alice.id)
	bob.expect(denied)
	bob.about("add_friend", alice.id)
	bob.expectError(none(alice.id))
	alice.about("request_friend", bob.id) // denied: may be sent again
	alice.expect(requested)
	bob.expect(fmt.Sprintf(`{"type":"friend_request","user":%d}`, alice.id))
	bob.about("add_friend", alice.id)
	bob.expect(added)
	alice.about("request_friend", bob.id) // friends already
	alice.expectError(failed(bob.id))

	alice.about("request_friend", carol.id) // two that cross
	alice.expect(requested)
	carol.expect(fmt.Sprintf(`{"type":"friend_request","user":%d}`, alice.id))
	carol.about("request_friend", alice.id)
	carol.expect(requested)
	alice.expectFriends(bob, carol)
	carol.expectFriends(alice)
}

func TestAFriendRequestReachesAnOfflineUserAndComesAgainUntilAnswered(t *testing.T) {
	t.Parallel()
	one, two := pair(deployment(t))

	alice, bob := create(t, one, "alice"), create(t, two, "bob")
	bob.ws.Close()
	alice.about("request_friend", bob.id)
	alice.expect(requested)
	for range 3 { // whether confirmed as delivered or not
		bob = bob.again(two)
		bob.expect(fmt.Sprintf(`{"type":"friend_request","user":%d}`, alice.id))
		bob.expectFriends()
		bob.ws.Close()
	}
	bob = bob.again(one)
	bob.expect(fmt.Sprintf(`{"type":"friend_request","user":%d}`, alice.id))
	bob.about("add_friend", alice.id)
	bob.expect(added)
	bob.expectFriends(alice)
}

func TestAMessageToWhoIsNotConnectedIsRefusedAndNotKept(t *testing.T) {
	t.Parallel()
	one, two := pair(deployment(t))

	alice, bob := create(t, one, "alice"), create(t, two, "bob")
	for _, nobody := range []int{5, 9999999, 100000000, 999999999999999999} {
		alice.message(nobody, "hello?")
		alice.expectError(fmt.Sprintf("%d is not connected to the network", nobody))
	}
	bob.ws.Close()
	eventually(t, "bob counts as gone", func() bool {
		alice.message(bob.id, "gone?")
		return alice.read() != sent
	})
	alice.message(bob.id, "not kept")
	alice.expectError(fmt.Sprintf("%d is not connected to the network", bob.id))
	bob = bob.again(one)
	alice.message(bob.id, "last")
	alice.expect(sent)
	for frame := bob.read(); frame != messageFrame(alice.id, "last"); frame = bob.read() {
		if frame != messageFrame(alice.id, "gone?") { // those were acknowledged
			t.Fatalf("got %s", frame)
		}
	}
}

func TestFiveHundredMessagesWithoutWaitingComeInOrder(t *testing.T) {
	t.Parallel()
	one, two := pair(deployment(t))

	alice, bob := create(t, one, "alice"), create(t, two, "bob")
	for i := range 500 {
		alice.message(bob.id, fmt.Sprint(i))
	}
	for range 500 {
		alice.expect(sent)
	}
	for i := range 500 {
		bob.expectMessage(alice.id, fmt.Sprint(i))
	}
}

func TestOfTwelveWhoWantOneNameOneWins(t *testing.T) {
	t.Parallel()
	one, two := pair(deployment(t))

	name := uniqueName("wanted")
	clients := make([]*client, 12)
	for i := range clients {
		clients[i] = dial(t, []string{one, two}[i%2])
	}
	answers := make([]string, len(clients))
	var all sync.WaitGroup
	begin := make(chan struct{})
	for i, c := range clients {
		all.Go(func() {
			<-begin
			frame := `{"type":"create_acc","username":"` + name + `","pin":"1234"}`
			if err := c.ws.WriteMessage(websocket.TextMessage, []byte(frame)); err == nil {
				answers[i], _ = c.tryRead()
			}
		})
	}
	close(begin)
	all.Wait()
	won, taken := 0, 0
	for _, answer := range answers {
		switch {
		case strings.HasPrefix(answer, `{"type":"create_acc_resp","id":`):
			won++
		case answer == `{"type":"error","error":"username is taken"}`:
			taken++
		}
	}
	if won != 1 || taken != 11 {
		t.Fatalf("%d won and %d were told that it is taken: %q", won, taken, answers)
	}
}

func TestContentThatTheStoreRefusesFailsNoNeighbour(t *testing.T) {
	t.Parallel()
	one, two := pair(deployment(t))

	bob := create(t, two, "bob")
	bad := create(t, one, "bad")
	good := []*client{create(t, one, "good"), create(t, one, "good"), create(t, one, "good"), create(t, one, "good")}
	const rounds = 100
	var senders sync.WaitGroup
	senders.Go(func() {
		for i := range rounds {
			bad.raw([]string{
				fmt.Sprintf(`{"type":"send_msg","recipient":%d,"content":"a\u0000b"}`, bob.id),
				fmt.Sprintf("{\"type\":\"send_msg\",\"recipient\":%d,\"content\":\"\xc3\x28\"}", bob.id),
				fmt.Sprintf(`{"type":"send_msg","recipient":%d,"content":"%s"}`, bob.id, strings.Repeat("x", 4097)),
			}[i%3])
			bad.message(bob.id, "fine")
		}
	})
	for _, c := range good {
		senders.Go(func() {
			for i := range rounds {
				c.message(bob.id, fmt.Sprint(i))
			}
		})
	}
	senders.Wait()
	for i := range rounds {
		bad.expectError([]string{
			"bad request: content must not contain NUL",
			"bad request: frame is not valid UTF-8",
			"bad request: content is longer than 4096 characters",
		}[i%3])
		bad.expect(sent)
	}
	for _, c := range good {
		for range rounds {
			c.expect(sent)
		}
	}
	got := map[string]int{}
	for range rounds * 5 {
		got[bob.read()]++
	}
	if got[messageFrame(bad.id, "fine")] != rounds {
		t.Errorf("%d of the bad one's good messages came", got[messageFrame(bad.id, "fine")])
	}
	for _, c := range good {
		for i := range rounds {
			if got[messageFrame(c.id, fmt.Sprint(i))] != 1 {
				t.Fatalf("message %d of %d came %d times", i, c.id, got[messageFrame(c.id, fmt.Sprint(i))])
			}
		}
	}
}

func TestLoginsTakeThePinAsStringOrNumber(t *testing.T) {
	t.Parallel()
	one, two := pair(deployment(t))

	c := dial(t, one)
	name := uniqueName("pin")
	c.raw(`{"type":"create_acc","username":"` + name + `","pin":"0042"}`)
	id := int(c.readObject()["id"].(float64))
	for pin, want := range map[string]string{
		`"0042"`: fmt.Sprintf(`{"type":"resp","id":%d}`, id),
		`42`:     `{"type":"error","error":"acc not found"}`,
		`"42"`:   `{"type":"error","error":"acc not found"}`,
	} {
		c := dial(t, two)
		c.raw(`{"type":"login","username":"` + name + `","pin":` + pin + `}`)
		c.expect(want)
	}
	for _, arguments := range []string{`"username":"ab","pin":"1234"`, `"username":"abc","pin":"123"`,
		`"username":"has\u0000nul","pin":"1234"`, `"username":"abc"`, `"username":7,"pin":"1234"`} {
		c := dial(t, two)
		c.raw(`{"type":"create_acc",` + arguments + `}`)
		c.expectError("failed to create account")
	}
}

func TestUsersAreFoundByIDThroughTheFrontDoor(t *testing.T) {
	t.Parallel()
	d := deployment(t)

	alice := create(t, d.URL(), "alice")
	tests := []struct {
		query  string
		status int
		want   string
	}{
		{fmt.Sprintf("?id=%d", alice.id), 200, `{"user":{"username":"` + alice.name + `"}}`},
		{"?id=10000000", 404, `{"error":`}, // one in 90 million
		{"?id=5", 400, `{"error":`}, {"?id=10000000000", 400, `{"error":`},
		{"", 400, `{"error":`}, {"?id=", 400, `{"error":`}, {"?id=bob", 400, `{"error":`}, {"?id=-1", 400, `{"error":`},
	}
	for _, tt := range tests {
		resp, err := http.Get(d.URL() + "/get_user" + tt.query)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tt.status || !strings.HasPrefix(string(body), tt.want) ||
			resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s", tt.query, resp.StatusCode, body)
		}
	}
}

func TestOnlyFriendsMayWriteUnderThatPolicy(t *testing.T) {
	t.Parallel()
	d := ownDeployment(t, local.Options{Env: map[string][]string{"social": {"MESSAGE_POLICY=friends"}}})
	one, two := pair(d)

	alice, bob := create(t, one, "alice"), create(t, two, "bob")
	alice.message(bob.id, "hi")
	alice.expectError(fmt.Sprintf("%d is not your friend", bob.id))
	alice.about("request_friend", bob.id)
	alice.expect(requested)
	bob.expect(fmt.Sprintf(`{"type":"friend_request","user":%d}`, alice.id))
	bob.about("add_friend", alice.id)
	bob.expect(added)
	alice.message(bob.id, "hi, friend")
	alice.expect(sent)
	bob.expectMessage(alice.id, "hi, friend")
	alice.message(alice.id, "a note to myself")
	alice.expect(sent)
	alice.expectMessage(alice.id, "a note to myself")
}
