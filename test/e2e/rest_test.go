package e2e

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/jackc/pgx/v5"

	"pymessage/internal/local"
	"pymessage/test/openapi"
)

// stranger uses REST at the front door as the documents that are served there say.
type stranger struct{ accounts, social openapi.Caller }

func newStranger(t *testing.T, base string) stranger {
	t.Helper()
	caller := func(name string) openapi.Caller {
		status, text := get(t, base+"/"+name+"/v1/openapi.json")
		if status != http.StatusOK {
			t.Fatalf("the document of %s: %d", name, status)
		}
		return openapi.Caller{T: t, Document: openapi.Load(t, []byte(text)), Base: base}
	}
	return stranger{caller("accounts"), caller("social")}
}

func (s stranger) as(token string) stranger {
	return stranger{s.accounts.As(token), s.social.As(token)}
}

// want sends a request that must be answered with this status, to who serves path.
func (s stranger) want(status int, method, path string, body any) map[string]any {
	s.accounts.T.Helper()
	if strings.HasPrefix(path, "/social/") {
		return s.social.Want(status, method, path, body)
	}
	return s.accounts.Want(status, method, path, body)
}

// signUp makes an account and is its user.
func (s stranger) signUp(name string) (stranger, int) {
	s.accounts.T.Helper()
	answer := s.want(201, "POST", "/accounts/v1/users", credentials(name))
	return s.as(answer["session"].(map[string]any)["token"].(string)), int(answer["user"].(map[string]any)["id"].(float64))
}

type object = map[string]any

func credentials(name string) object { return object{"username": name, "pin": pin} }

func TestAStrangerUsesEveryRouteOfTheDocuments(t *testing.T) {
	t.Parallel()
	nobody := newStranger(t, deployment(t).URL())
	names := []string{uniqueName("alice"), uniqueName("bob"), uniqueName("carol")}
	alice, a := nobody.signUp(names[0])
	bob, b := nobody.signUp(names[1])
	carol, c := nobody.signUp(names[2])
	user := func(path string, id int) string { return strings.Replace(path, "{user}", fmt.Sprint(id), 1) }
	ask := func(id int) object { return object{"user": id} }
	large := object{"username": strings.Repeat("a", 65<<10), "pin": pin}

	// accounts
	nobody.want(200, "GET", user("/get_user?id={user}", a), nil)
	nobody.want(404, "GET", user("/get_user?id={user}", unusedID(t, nobody, a)), nil)
	nobody.want(400, "GET", "/get_user?id=alice", nil)
	nobody.want(409, "POST", "/accounts/v1/users", credentials(names[0]))
	nobody.want(400, "POST", "/accounts/v1/users", credentials("a"))
	login := nobody.want(201, "POST", "/accounts/v1/sessions", credentials(names[0]))["session"].(map[string]any)
	nobody.want(401, "POST", "/accounts/v1/sessions", object{"username": names[0], "pin": "4321"})
	nobody.want(400, "POST", "/accounts/v1/sessions", openapi.Raw{Type: "application/json", Text: "{"})
	alice.want(200, "GET", user("/accounts/v1/users?id={user}", b), nil)
	alice.want(200, "GET", "/accounts/v1/users?username="+names[1], nil)
	alice.want(400, "GET", "/accounts/v1/users", nil)
	alice.want(200, "GET", "/accounts/v1/me", nil)
	alice.want(200, "GET", "/accounts/v1/sessions", nil)
	alice.want(200, "GET", "/accounts/v1/me/export", nil)
	bob.want(404, "DELETE", "/accounts/v1/sessions/"+login["id"].(string), nil) // is alice's
	alice.want(204, "DELETE", "/accounts/v1/sessions/"+login["id"].(string), nil)
	alice.as(login["token"].(string)).want(401, "GET", "/social/v1/friends", nil) // at once
	alice.want(204, "PUT", "/accounts/v1/me/pin", object{"pin": "1234", "new_pin": "5678"})
	alice.want(403, "PUT", "/accounts/v1/me/pin", object{"pin": "1234", "new_pin": "5678"})
	alice.want(400, "PUT", "/accounts/v1/me/pin", object{"pin": "5678", "new_pin": "1"})
	alice.want(204, "PUT", "/accounts/v1/me/pin", object{"pin": "5678", "new_pin": "1234"})
	alice.want(403, "POST", "/accounts/v1/me/deletion", object{"pin": "4321"})
	alice.want(400, "POST", "/accounts/v1/me/deletion", []int{})

	// social
	const requests, friends, blocks = "/social/v1/requests", "/social/v1/friends", "/social/v1/blocks"
	alice.want(200, "POST", requests, ask(b))
	alice.want(204, "DELETE", user(requests+"/{user}", b), nil)
	alice.want(404, "DELETE", user(requests+"/{user}", b), nil)
	alice.want(400, "DELETE", requests+"/bob", nil)
	alice.want(200, "POST", requests, ask(b))
	bob.want(204, "POST", user(requests+"/{user}/deny", a), nil)
	bob.want(404, "POST", user(requests+"/{user}/deny", a), nil)
	bob.want(400, "POST", requests+"/alice/deny", nil)
	alice.want(200, "POST", requests, ask(b))
	carol.want(404, "POST", user(requests+"/{user}/accept", a), nil) // is bob's
	bob.want(204, "POST", user(requests+"/{user}/accept", a), nil)
	bob.want(400, "POST", requests+"/alice/accept", nil)
	alice.want(409, "POST", requests, ask(b))
	alice.want(400, "POST", requests, ask(a))
	alice.want(404, "POST", requests, ask(unusedID(t, nobody, a)))
	carol.want(404, "DELETE", user(friends+"/{user}", a), nil)
	carol.want(400, "DELETE", friends+"/alice", nil)
	if got := carol.want(200, "GET", friends, nil); len(got["friends"].([]any)) != 0 {
		t.Errorf("carol sees friends of others: %v", got)
	}
	if got := alice.want(200, "GET", friends, nil); len(got["friends"].([]any)) != 1 {
		t.Errorf("alice has the friends %v", got)
	}
	bob.want(204, "DELETE", user(friends+"/{user}", a), nil)
	alice.want(200, "GET", requests, nil)
	alice.want(204, "PUT", user(blocks+"/{user}", c), nil)
	alice.want(404, "PUT", user(blocks+"/{user}", unusedID(t, nobody, a)), nil)
	alice.want(400, "PUT", blocks+"/carol", nil)
	alice.want(200, "GET", blocks, nil)
	if got := carol.want(200, "GET", blocks, nil); len(got["blocked"].([]any)) != 0 {
		t.Errorf("carol sees who blocks: %v", got)
	}
	carol.want(404, "DELETE", user(blocks+"/{user}", a), nil)
	carol.want(400, "DELETE", blocks+"/alice", nil)
	alice.want(204, "DELETE", user(blocks+"/{user}", c), nil)
	alice.want(200, "GET", user("/social/v1/history?user={user}&limit=10", b), nil)
	alice.want(400, "GET", "/social/v1/history", nil)
	alice.want(404, "GET", user("/social/v1/history?user={user}&before=12345678-99", b), nil)
	alice.want(200, "GET", "/social/v1/export", nil)

	for _, route := range [][2]string{
		{"POST", "/accounts/v1/users"}, {"POST", "/accounts/v1/sessions"}, {"PUT", "/accounts/v1/me/pin"},
		{"POST", "/accounts/v1/me/deletion"}, {"POST", requests},
	} {
		alice.want(413, route[0], route[1], large)
		alice.want(415, route[0], route[1], openapi.Raw{Type: "text/plain", Text: `{"pin":"1234"}`})
	}
	for _, route := range [][2]string{
		{"GET", "/accounts/v1/users?id=12345678"}, {"GET", "/accounts/v1/sessions"}, {"DELETE", "/accounts/v1/sessions"},
		{"DELETE", "/accounts/v1/sessions/x"}, {"GET", "/accounts/v1/me"}, {"PUT", "/accounts/v1/me/pin"},
		{"POST", "/accounts/v1/me/deletion"}, {"GET", "/accounts/v1/me/export"},
		{"GET", friends}, {"DELETE", user(friends+"/{user}", a)}, {"GET", requests}, {"POST", requests},
		{"DELETE", user(requests+"/{user}", a)}, {"POST", user(requests+"/{user}/accept", a)}, {"POST", user(requests+"/{user}/deny", a)},
		{"GET", blocks}, {"PUT", user(blocks+"/{user}", a)}, {"DELETE", user(blocks+"/{user}", a)},
		{"GET", user("/social/v1/history?user={user}", a)}, {"GET", "/social/v1/export"},
	} {
		for _, who := range []stranger{nobody, nobody.as("a guess"), nobody.as(login["token"].(string))} {
			who.want(401, route[0], route[1], nil)
		}
	}
	carol.want(204, "DELETE", "/accounts/v1/sessions", nil)
	alice.want(204, "POST", "/accounts/v1/me/deletion", object{"pin": "1234"})

	nobody.want(200, "GET", "/accounts/v1/openapi.json", nil)
	nobody.want(200, "GET", "/social/v1/openapi.json", nil)
	// The rest needs services that fail or throttle: each has its own tests for that.
	for name, document := range map[string]*openapi.Document{"accounts": nobody.accounts.Document, "social": nobody.social.Document} {
		if unseen := document.Unseen("429", "503", "default"); len(unseen) > 0 {
			t.Errorf("%s was not made to answer:\n%s", name, strings.Join(unseen, "\n"))
		}
	}
}

// unusedID is an id that nobody has.
func unusedID(t *testing.T, s stranger, near int) int {
	t.Helper()
	for id := near; ; id = 10_000_000 + (id+1)%90_000_000 {
		if status, _ := s.accounts.Do("GET", fmt.Sprintf("/get_user?id=%d", id), nil); status == 404 {
			return id
		}
	}
}

// endsWith reads until the socket is closed with a code.
func (c *rawClient) endsWith(code int) {
	c.t.Helper()
	for {
		if err := c.ws.SetReadDeadline(time.Now().Add(patience)); err != nil {
			c.t.Fatal(err)
		}
		_, _, err := c.ws.ReadMessage()
		if err == nil {
			continue
		}
		if !websocket.IsCloseError(err, code) {
			c.t.Fatalf("ended with %v, want close code %d", err, code)
		}
		return
	}
}

func TestADeletedAccountIsGoneEverywhere(t *testing.T) {
	t.Parallel()
	d := ownDeployment(t, local.Options{Env: map[string][]string{"accounts": {"DELETION_GRACE=1s"}}})
	one, two := pair(d)
	rest := newStranger(t, d.URL())

	const secret = "the secret of the deleted"
	gone, friend, asked := create2(t, one, "gone-secretive"), create2(t, two, "friend"), create2(t, one, "asked")
	old := gone.again(two) // version 1
	there, _ := gone.resume(two, 0)
	friend.about("request_friend", gone.id)
	gone.about("add_friend", friend.id)
	gone.about("request_friend", asked.id)
	for _, to := range []*client2{friend, asked, gone} {
		gone.ask(map[string]any{"type": "send_msg", "recipient": to.id, "content": secret, "nonce": fmt.Sprint(to.id)})
	}
	friend.ask(map[string]any{"type": "send_msg", "recipient": gone.id, "content": secret})
	friend.expectEvents(gone.id, "request_sent", "friend_added")

	rest.as(gone.token).want(204, "POST", "/accounts/v1/me/deletion", object{"pin": pin})
	for _, socket := range []*rawClient{&gone.rawClient, &there.rawClient, old} {
		socket.endsWith(4502)
	}
	rest.as(gone.token).want(401, "GET", "/accounts/v1/me", nil)
	rest.as(gone.token).want(401, "GET", "/social/v1/friends", nil)
	rest.want(401, "POST", "/accounts/v1/sessions", credentials(gone.name))
	rest.want(404, "GET", fmt.Sprintf("/get_user?id=%d", gone.id), nil)
	if found := rest.as(friend.token).want(200, "GET", "/accounts/v1/users?username="+gone.name, nil); len(found["users"].([]any)) != 0 {
		t.Errorf("found %v", found)
	}
	for event := friend.object(); event["type"] != "friend_removed"; event = friend.object() {
	}
	if answer := friend.ask(map[string]any{"type": "get_friends"}); len(answer["friends"].([]any)) != 0 {
		t.Errorf("the friend has %v", answer)
	}
	if answer := friend.ask(map[string]any{"type": "send_msg", "recipient": gone.id, "content": "hello?"}); answer["code"] != "not_connected" {
		t.Errorf("writing to nobody: %v", answer)
	}
	eventually(t, "all is deleted, and looked for once more", func() bool {
		var waiting int
		query(t, d, `SELECT count(*) FROM accounts.outbox`, nil, &waiting)
		return waiting == 0
	})
	if answer := friend.ask(map[string]any{"type": "get_history", "user": gone.id}); len(answer["messages"].([]any)) != 0 {
		t.Errorf("the history is %v", answer)
	}
	if out := rest.as(friend.token).want(200, "GET", "/social/v1/export", nil); strings.Contains(fmt.Sprint(out), secret) {
		t.Errorf("the export of the friend has %v", out)
	}
	for _, user := range []*client2{friend, asked} {
		var gaps, tombstones int
		query(t, d, `
			SELECT i.head - count(e), count(*) FILTER (WHERE e.kind = 9 AND e.peer = 0 AND e.content = '')
			FROM social.inboxes i JOIN social.events e USING (user_id)
			WHERE user_id = $1
			GROUP BY i.head`, []any{user.id}, &gaps, &tombstones)
		if gaps != 0 || tombstones != 1 {
			t.Errorf("the log of %s has %d gaps and %d tombstones", user.name, gaps, tombstones)
		}
	}
	wantNowhere(t, d, gone.name, secret, fmt.Sprint(gone.id))
	for _, s := range d.Services() {
		log, err := os.ReadFile(s.LogFile)
		if err != nil {
			t.Fatal(err)
		}
		for _, private := range []string{secret, gone.token, friend.token, gone.name} {
			if len(log) == 0 || strings.Contains(string(log), private) {
				t.Errorf("the log of %s is empty or tells %q", s.Name, private)
			}
		}
	}
}

// remains are the columns in which docs/rest.md lets the id of a deleted account be.
var remains = map[string]string{
	"accounts.departed.id": "true", "social.inboxes.user_id": "head < 0", "social.events.peer": "kind NOT IN (1, 9)",
	"social.nonces.recipient": "true", "social.lanes.firsts": "true",
}

// wantNowhere looks for texts in every column of every table of both schemas.
func wantNowhere(t *testing.T, d *local.Deployment, texts ...string) {
	t.Helper()
	var columns [][]string
	query(t, d, `
		SELECT array_agg(ARRAY[table_schema, table_name, column_name]::text[])
		FROM information_schema.columns
		WHERE table_schema IN ('accounts', 'social') AND table_name <> 'goose_db_version'`, nil, &columns)
	if len(columns) < 30 {
		t.Fatalf("there are only %d columns", len(columns))
	}
	for _, c := range columns {
		may := remains[strings.Join(c, ".")]
		if may == "" {
			may = "false"
		}
		var found []string
		query(t, d, `
			SELECT coalesce(array_agg(t::text), '{}')
			FROM `+pgx.Identifier(c[:2]).Sanitize()+` t
			WHERE NOT (`+may+`) AND EXISTS (SELECT FROM unnest($1::text[]) AS text
				WHERE strpos(t.`+pgx.Identifier(c[2:]).Sanitize()+`::text, text) > 0)`, []any{texts}, &found)
		if len(found) > 0 {
			t.Errorf("%s still has %v", strings.Join(c, "."), found)
		}
	}
}
