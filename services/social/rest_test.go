package social

import (
	"context"
	"fmt"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"pymessage/internal/bell"
	"pymessage/internal/service"
	"pymessage/services/social/socialapi"
	"pymessage/test/openapi"
)

// rest is a user of the public interface.
type rest struct {
	*world
	openapi.Caller
}

func newRest(t *testing.T, change ...func(*Config)) *rest {
	t.Helper()
	w := newWorld(t, change...)
	srv := httptest.NewServer(w.srv.publicHandler(service.MeasureHTTP(prometheus.NewRegistry())))
	t.Cleanup(srv.Close)
	return &rest{w, openapi.Caller{T: t, Document: openapi.Load(t, document), Base: srv.URL}}
}

// as is the user with this id.
func (r *rest) as(user int) *rest { return r.with(fmt.Sprint("token of ", user)) }

func (r *rest) with(token string) *rest { return &rest{r.world, r.As(token)} }

// ids are those of the users in a list of an answer.
func ids(list any) []int {
	out := []int{}
	for _, u := range list.([]any) {
		out = append(out, int(u.(map[string]any)["id"].(float64)))
	}
	return out
}

func (r *rest) wantIDs(path, list string, want ...int) {
	r.t.Helper()
	if got := ids(r.Want(200, "GET", path, nil)[list]); !slices.Equal(got, want) {
		r.t.Errorf("%s: %s are %v, want %v", path, list, got, want)
	}
}

func user(id int) map[string]any { return map[string]any{"user": id} }

func of(path string, id int) string { return fmt.Sprintf(path, id) }

func TestTheDocumentTellsOfEveryRoute(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	openapi.Load(t, document).CheckRoutes(t, w.srv.publicHandler(service.MeasureHTTP(prometheus.NewRegistry())))
}

// routes are those that need a token, with a user to fill in.
var routes = [][2]string{
	{"GET", "/social/v1/friends"}, {"DELETE", "/social/v1/friends/%d"}, {"GET", "/social/v1/requests"}, {"POST", "/social/v1/requests"},
	{"POST", "/social/v1/requests/%d/accept"}, {"POST", "/social/v1/requests/%d/deny"}, {"DELETE", "/social/v1/requests/%d"},
	{"GET", "/social/v1/blocks"}, {"PUT", "/social/v1/blocks/%d"}, {"DELETE", "/social/v1/blocks/%d"},
	{"GET", "/social/v1/history?user=%d"}, {"GET", "/social/v1/export"},
}

func fill(path string, id int) string {
	if strings.Contains(path, "%d") {
		return of(path, id)
	}
	return path
}

func TestEveryRouteNeedsATokenThatIsGood(t *testing.T) {
	t.Parallel()
	r := newRest(t)
	u := r.users(2)
	gone := r.as(u[1])
	r.accounts.remove(u[1])
	for _, route := range routes {
		for _, who := range []*rest{r, r.with("guess"), gone} {
			who.WantError(401, "unauthorized", route[0], fill(route[1], u[0]), nil)
		}
	}
	r.accounts.setBroken(true)
	for _, route := range routes {
		r.as(u[0]).WantError(503, "unavailable", route[0], fill(route[1], u[0]), nil)
	}
}

func TestARESTThatHasLostItsStoreIsUnavailable(t *testing.T) {
	t.Parallel()
	r := newRest(t)
	u := r.users(2)
	r.pool.Close()
	for _, route := range routes {
		var body any
		if route == [2]string{"POST", "/social/v1/requests"} {
			body = user(u[1])
		}
		r.as(u[0]).WantError(503, "unavailable", route[0], fill(route[1], u[1]), body)
	}
}

func TestFriendshipsByREST(t *testing.T) {
	t.Parallel()
	r := newRest(t, func(c *Config) { c.MaxPendingRequests = 1 })
	u := r.users(4)
	alice, bob, carol := r.as(u[0]), r.as(u[1]), r.as(u[2])
	const friends, requests = "/social/v1/friends", "/social/v1/requests"

	if got := alice.Want(200, "POST", requests, user(u[1])); got["status"] != "sent" {
		t.Errorf("asking: %v", got)
	}
	alice.Want(200, "POST", requests, user(u[1])) // twice is once
	alice.wantIDs(requests, "outgoing", u[1])
	bob.wantIDs(requests, "incoming", u[0])
	carol.wantIDs(requests, "incoming")
	carol.WantError(429, "too_many", "POST", requests, user(u[1]))
	carol.WantError(404, "not_found", "POST", requests+of("/%d/accept", u[0]), nil) // is bob's
	carol.WantError(404, "not_found", "DELETE", requests+of("/%d", u[1]), nil)
	bob.Want(204, "POST", requests+of("/%d/deny", u[0]), nil)
	bob.WantError(404, "not_found", "POST", requests+of("/%d/deny", u[0]), nil)
	alice.Want(200, "POST", requests, user(u[1]))
	alice.Want(204, "DELETE", requests+of("/%d", u[1]), nil)
	alice.wantIDs(requests, "outgoing")
	alice.Want(200, "POST", requests, user(u[1]))
	bob.Want(204, "POST", requests+of("/%d/accept", u[0]), nil)
	alice.wantIDs(friends, "friends", u[1])
	bob.wantIDs(friends, "friends", u[0])
	carol.wantIDs(friends, "friends")
	alice.WantError(409, "conflict", "POST", requests, user(u[1]))
	carol.WantError(404, "not_found", "DELETE", friends+of("/%d", u[1]), nil)
	bob.Want(204, "DELETE", friends+of("/%d", u[0]), nil)
	alice.wantIDs(friends, "friends")
	bob.Want(200, "POST", requests, user(u[0]))
	if got := alice.Want(200, "POST", requests, user(u[1])); got["status"] != "friends" {
		t.Errorf("crossing requests: %v", got)
	}

	alice.WantError(400, "invalid", "POST", requests, user(u[0]))
	alice.WantError(404, "not_found", "POST", requests, user(minID))
	alice.WantError(404, "not_found", "POST", requests, user(5))
	alice.WantError(400, "invalid", "POST", requests, map[string]any{"user": "bob"})
	alice.WantError(413, "too_large", "POST", requests, map[string]any{"user": strings.Repeat("1", 65<<10)})
	for _, route := range routes {
		if strings.Contains(route[1], "/%d") {
			alice.WantError(400, "invalid", route[0], strings.Replace(route[1], "%d", "bob", 1), nil)
		}
	}
	alice.WantError(415, "unsupported", "POST", requests, openapi.Raw{Text: `{"user":1}`})
	r.accounts.remove(u[1]) // and social does not know yet
	alice.wantIDs(friends, "friends")
}

func TestBlocksByREST(t *testing.T) {
	t.Parallel()
	r := newRest(t)
	u := r.users(2)
	alice, bob := r.as(u[0]), r.as(u[1])
	const blocks = "/social/v1/blocks"
	alice.Want(204, "PUT", blocks+of("/%d", u[1]), nil)
	alice.Want(204, "PUT", blocks+of("/%d", u[1]), nil)
	alice.wantIDs(blocks, "blocked", u[1])
	bob.wantIDs(blocks, "blocked")
	bob.WantError(404, "not_found", "POST", "/social/v1/requests", user(u[0]))
	bob.WantError(404, "not_found", "DELETE", blocks+of("/%d", u[0]), nil)
	alice.Want(204, "DELETE", blocks+of("/%d", u[1]), nil)
	alice.WantError(404, "not_found", "DELETE", blocks+of("/%d", u[1]), nil)
	alice.WantError(404, "not_found", "PUT", blocks+of("/%d", minID), nil)
	alice.WantError(400, "invalid", "PUT", blocks+of("/%d", u[0]), nil)
	alice.wantIDs(blocks, "blocked")
}

func TestHistoryByREST(t *testing.T) {
	t.Parallel()
	r := newRest(t)
	u := r.users(3)
	alice, carol := r.as(u[0]), r.as(u[2])
	var want []string
	for i := range 5 {
		r.send("lane", int64(2*i+1), message(u[0], u[1], fmt.Sprint("from alice ", i)))
		r.send("lane", int64(2*i+2), message(u[1], u[0], fmt.Sprint("from bob ", i)))
		want = append(want, fmt.Sprint("from alice ", i), fmt.Sprint("from bob ", i))
	}
	r.setPositions(socialapi.UserSeq{User: u[1], Seq: 2})
	var got []string
	states := map[any]int{}
	path := of("/social/v1/history?user=%d&limit=3", u[1])
	for more, before := true, ""; more; {
		page := alice.Want(200, "GET", path+before, nil)
		messages := page["messages"].([]any)
		for i, m := range slices.Backward(messages) {
			message := m.(map[string]any)
			got = append([]string{message["content"].(string)}, got...)
			states[message["state"]]++
			if i == 0 {
				before = "&before=" + message["id"].(string)
			}
		}
		more = page["more"].(bool)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if want := map[any]int{nil: 5, "delivered": 2, "stored": 3}; !maps.Equal(states, want) {
		t.Errorf("states %v, want %v", states, want)
	}
	if page := carol.Want(200, "GET", path, nil); len(page["messages"].([]any)) != 0 {
		t.Errorf("somebody else sees %v", page)
	}
	carol.WantError(404, "not_found", "GET", path+of("&before=%d-1", u[1]), nil)
	for _, query := range []string{"", "user=bob", "user=" + fmt.Sprint(u[1], "&user=", u[2]), of("user=%d&before=1", u[1]),
		of("user=%d&before=12345678-0", u[1]), of("user=%d&before=12345678-x", u[1]), of("user=%d&limit=0", u[1]), of("user=%d&limit=201", u[1]), of("user=%d&limit=x", u[1])} {
		alice.WantError(400, "invalid", "GET", "/social/v1/history?"+query, nil)
	}
}

func TestTheExportHasEverything(t *testing.T) {
	t.Parallel()
	r := newRest(t)
	u := r.users(5)
	alice := r.as(u[0])
	r.befriend(u[0], u[1])
	r.must(u[0], u[2], actionRequest)
	r.must(u[3], u[0], actionRequest)
	r.must(u[0], u[4], actionBlock)
	const each = exportPage + 500 // more than a page
	for n := range each / 500 {
		var batch []socialapi.Message
		for i := range 500 {
			batch = append(batch, message(u[0], u[1], fmt.Sprint("sent ", n*500+i)), message(u[1], u[0], fmt.Sprint("got ", n*500+i)),
				message(u[1], u[2], "of others"))
		}
		r.send("lane", int64(2*n+1), batch[:1000]...)
		r.send("lane", int64(2*n+2), batch[1000:]...)
	}
	r.send("lane", 100, message(u[0], u[2], "sent to the other"))
	r.exec(`UPDATE events SET kind = 9, peer = 0, content = '' WHERE user_id = $1 AND content = 'got 7'`, u[0])
	out := alice.Want(200, "GET", "/social/v1/export", nil)
	requests := out["requests"].(map[string]any)
	for list, want := range map[string]int{"friends": u[1], "blocked": u[4], "incoming": u[3], "outgoing": u[2]} {
		from := out[list]
		if from == nil {
			from = requests[list]
		}
		if got := ids(from); !slices.Equal(got, []int{want}) {
			t.Errorf("%s are %v, want %d", list, got, want)
		}
	}
	got := map[string]int{}
	for _, e := range out["events"].([]any) {
		got[e.(map[string]any)["kind"].(string)]++
	}
	if want := map[string]int{"message": each - 1, "request_sent": 2, "friend_added": 1, "friend_request": 1, "blocked": 1}; !maps.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	sent := out["sent"].([]any)
	for i := range each {
		m := sent[i].(map[string]any)
		if m["content"] != fmt.Sprint("sent ", i) || m["recipient"] != float64(u[1]) {
			t.Fatalf("sent %d is %v", i, m)
		}
	}
	if len(sent) != each+1 || strings.Contains(fmt.Sprint(out), "of others") {
		t.Errorf("%d were sent", len(sent))
	}
}

// ear hears what is rung on a user's channel.
func (r *rest) ear(user int) func() bell.Event {
	r.t.Helper()
	client, err := bell.Connect(string(r.cfg.Redis.RedisURL))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = client.Close() })
	sub := client.Subscribe(r.t.Context(), r.cfg.Redis.Channels().User(user))
	r.t.Cleanup(func() { _ = sub.Close() })
	if _, err := sub.Receive(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	var heard []bell.Event
	return func() bell.Event {
		r.t.Helper()
		ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
		defer cancel()
		for len(heard) == 0 {
			m, err := sub.ReceiveMessage(ctx)
			if err != nil {
				r.t.Fatalf("no ring: %v", err)
			}
			env, err := bell.Decode(m.Payload)
			if err != nil || env.Epoch != r.open(user).Epoch {
				r.t.Fatalf("heard %+v, %v", env, err)
			}
			heard = append(heard, env.Events...)
		}
		next := heard[0]
		heard = heard[1:]
		return next
	}
}

func TestWhatRESTChangesRingsOnBothSides(t *testing.T) {
	t.Parallel()
	r := newRest(t)
	u := r.users(2)
	alice, bob := r.as(u[0]), r.as(u[1])
	ears := map[int]func() bell.Event{u[0]: r.ear(u[0]), u[1]: r.ear(u[1])}
	alice.Want(200, "POST", "/social/v1/requests", user(u[1]))
	bob.Want(204, "POST", of("/social/v1/requests/%d/accept", u[0]), nil)
	bob.Want(204, "PUT", of("/social/v1/blocks/%d", u[0]), nil)
	for user, hear := range ears {
		for _, stored := range r.inbox(user) {
			if diff := cmp.Diff(stored, hear()); diff != "" {
				t.Errorf("%d (-stored +heard):\n%s", user, diff)
			}
		}
	}
	r.accounts.remove(u[1])
	r.befriend2(u[0], u[1])
	r.delete(u[1], false)
	if got := ears[u[0]](); got.Kind != bell.KindFriendRemoved || got.Peer != u[1] {
		t.Errorf("of the deletion was heard %+v", got)
	}
}

// befriend2 makes friends without anybody being told.
func (r *rest) befriend2(a, b int) {
	r.t.Helper()
	r.exec(`UPDATE pairs SET state = 3, low_blocks = NULL, high_blocks = NULL WHERE low = $1 AND high = $2`, min(a, b), max(a, b))
}

func TestWithoutRedisRESTChangesAllTheSame(t *testing.T) {
	t.Parallel()
	r := newRest(t, func(c *Config) { c.Redis.RedisURL = "redis://127.0.0.1:1" })
	u := r.users(2)
	r.as(u[0]).Want(200, "POST", "/social/v1/requests", user(u[1]))
	r.as(u[1]).wantIDs("/social/v1/requests", "incoming", u[0])
}
