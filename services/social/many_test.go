package social

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pymessage/internal/fault"
	"pymessage/internal/httpjson"
	"pymessage/services/social/socialapi"
)

func (w *world) openMany(users ...int) []httpjson.Each[socialapi.Opening] {
	w.t.Helper()
	var in []socialapi.UserRequest
	for _, u := range users {
		in = append(in, socialapi.UserRequest{User: u})
	}
	answers, err := w.client.OpenMany(w.t.Context(), in)
	if err != nil {
		w.t.Fatal(err)
	}
	return answers
}

func (w *world) readMany(reads ...socialapi.ReadRequest) []httpjson.Each[socialapi.Page] {
	w.t.Helper()
	answers, err := w.client.ReadMany(w.t.Context(), reads)
	if err != nil {
		w.t.Fatal(err)
	}
	return answers
}

// wantEach compares each of many with what asking for it alone gives.
func wantEach[In, Out any](t *testing.T, in []In, got []httpjson.Each[Out], alone func(In) (Out, error)) {
	t.Helper()
	for i := range in {
		want, refused := alone(in[i])
		value, err := got[i].Get()
		if fault.Message(err) != fault.Message(refused) || fault.KindOf(err) != fault.KindOf(refused) || (err == nil) != (refused == nil) {
			t.Errorf("%v: %v, want %v", in[i], err, refused)
		}
		if diff := cmp.Diff(want, value); diff != "" {
			t.Errorf("%v (-alone +together):\n%s", in[i], diff)
		}
	}
}

func TestManyOpeningsAreWhatEachWouldBe(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(6)
	w.fill(u[1], 5)
	for _, asker := range []int{u[5], u[0], u[3]} { // who was created first is lower or higher
		if _, err := w.client.Request(t.Context(), asker, u[2]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.client.Request(t.Context(), u[2], u[4]); err != nil {
		t.Fatal(err)
	}
	w.setPositions(socialapi.UserSeq{User: u[1], Seq: 3}, socialapi.UserSeq{User: u[2], Seq: 2}, socialapi.UserSeq{User: u[4], Seq: 1})
	asked := []int{u[2], -1, u[1], u[0], 1 << 40, u[2], minID, u[4], u[3]}
	got := w.openMany(asked...)
	wantEach(t, asked, got, func(user int) (socialapi.Opening, error) { return w.client.Open(t.Context(), user) })
	if waiting := got[0].Value.Waiting; len(waiting) != 2 || waiting[0] != u[5] || waiting[1] != u[0] {
		t.Errorf("%v wait, of %v", waiting, u)
	}
	if _, err := w.client.OpenMany(t.Context(), make([]socialapi.UserRequest, socialapi.MaxOpens+1)); fault.KindOf(err) != fault.Invalid {
		t.Errorf("too many got %v", err)
	}
}

func TestManyPagesAreWhatEachWouldBe(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(4)
	w.fill(u[0], 100)
	w.fill(u[1], 3)
	w.fill(u[2], 50)
	w.exec(`DELETE FROM events WHERE user_id = $1 AND seq <= 40`, u[2])
	w.exec(`UPDATE inboxes SET oldest = 41 WHERE user_id = $1`, u[2])
	asked := []socialapi.ReadRequest{
		{User: u[2], After: 7, Limit: 5}, {User: 5, Limit: 1}, {User: u[0], After: 10, Limit: 32}, {User: u[1], Limit: 32},
		{User: u[1], After: -1, Limit: 3}, {User: u[1], After: 3, Limit: 1}, {User: u[0], After: 99, Limit: 10},
		{User: u[0], After: 10, Limit: 2}, {User: u[3], Limit: 9}, {User: u[3], Limit: 0}, {User: minID, After: 9, Limit: 9},
		{User: u[2], After: 44, Limit: 32},
	}
	wantEach(t, asked, w.readMany(asked...), func(r socialapi.ReadRequest) (socialapi.Page, error) {
		return w.client.Read(t.Context(), r)
	})
	long := w.readMany(socialapi.ReadRequest{User: u[0], Limit: socialapi.MaxShort + 1}, asked[3])
	if _, err := long[0].Get(); fault.KindOf(err) != fault.Invalid || len(long[1].Value.Events) != 3 {
		t.Errorf("a long page among others got %v, and another %+v", err, long[1])
	}
	if _, err := w.client.ReadMany(t.Context(), make([]socialapi.ReadRequest, socialapi.MaxReads+1)); fault.KindOf(err) != fault.Invalid {
		t.Errorf("too many got %v", err)
	}
}

func TestAShortPageEndsWhereItBecomesLong(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(2)
	const content = 4000 // bytes
	var batch []socialapi.Message
	for range 20 {
		batch = append(batch, message(u[1], u[0], strings.Repeat("x", content)))
	}
	w.send("lane", 1, batch...)
	w.fill(u[1], 20)
	after, reads := int64(0), 0
	for ; after < 20; reads++ {
		pages := w.readMany(socialapi.ReadRequest{User: u[0], After: after, Limit: socialapi.MaxShort}, socialapi.ReadRequest{User: u[1], Limit: 20})
		bytes := 0
		for i, e := range pages[0].Value.Events {
			if bytes += len(e.Content); bytes > socialapi.ShortBytes+content || e.Seq != after+int64(i)+1 {
				t.Fatalf("after %d: event %d is %d, with %d bytes", after, i, e.Seq, bytes)
			}
		}
		after += int64(len(pages[0].Value.Events))
		if len(pages[1].Value.Events) != 20 {
			t.Fatalf("another got %d events", len(pages[1].Value.Events))
		}
	}
	if want := 20 * content / socialapi.ShortBytes; reads > want {
		t.Errorf("%d reads, want %d at most", reads, want)
	}
}
