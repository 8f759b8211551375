package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

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
		bob.expectMessages(alice.id, fmt.Sprint(i))
	}
}

func TestContentThatTheStoreRefusesFailsNoNeighbour(t *testing.T) {
	t.Parallel()
	one, two := pair(deployment(t))

	bob, bad := join(t, two, 1, "bob"), create(t, one, "bad")
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
	got, want := map[string]int{}, map[string]int{fmt.Sprint(bad.id, " fine"): rounds}
	for i := range 4 {
		good := join(t, one, 1+i%2, "good")
		for n := range rounds {
			want[fmt.Sprint(good.id, " ", n)] = 1
		}
		senders.Go(func() {
			for n := range rounds {
				if _, err := good.Send(within(t), bob.id, fmt.Sprint(n)); err != nil {
					t.Error(err)
				}
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
	for range rounds * 5 {
		ev := bob.next()
		got[fmt.Sprint(ev.Peer, " ", ev.Content)]++
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
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

	alice := join(t, d.URL(), 1, "alice")
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
