package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"pymessage/internal/local"
	"pymessage/services/social/socialapi"
)

// proxy stands between the gateways and social, and can lose an answer after social
// has committed what it says.
type proxy struct {
	*httptest.Server
	target atomic.Pointer[string]
	onSend atomic.Pointer[func()] // called once, when social has answered a batch; the answer is then lost
}

func newProxy(t *testing.T) *proxy {
	p := &proxy{}
	p.Server = httptest.NewServer(http.HandlerFunc(p.forward))
	t.Cleanup(p.Close)
	return p
}

func (p *proxy) forward(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	out, _ := http.NewRequestWithContext(r.Context(), r.Method, *p.target.Load()+r.URL.Path, bytes.NewReader(body))
	out.Header = r.Header.Clone()
	resp, err := http.DefaultTransport.RoundTrip(out)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if r.URL.Path == socialapi.PathSend && resp.StatusCode == http.StatusOK {
		if f := p.onSend.Swap(nil); f != nil {
			(*f)()
			panic(http.ErrAbortHandler)
		}
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = w.Write(answer)
}

func TestSocialKilledBetweenCommitAndAnswerStoresNothingTwice(t *testing.T) {
	t.Parallel()
	p := newProxy(t)
	d := ownDeployment(t, local.Options{Env: map[string][]string{"gateway": {"SOCIAL_URL=" + p.URL}}})
	social, _ := d.Service("social")
	p.target.Store(&social.InternalURL)
	one, two := pair(d)

	// Version 1, since version 2 would not double it either: it has nonces.
	alice, bob := create(t, one, "alice"), join(t, two, 1, "bob")
	killed := make(chan error, 1)
	atCommit := func() {
		ctx := context.Background()
		err := d.Kill(ctx, "social")
		if err == nil {
			err = d.Start(ctx, "social")
		}
		killed <- err
	}
	p.onSend.Store(&atCommit)
	for i := range 50 {
		alice.message(bob.id, fmt.Sprint(i))
	}
	if err := <-killed; err != nil {
		t.Fatal(err)
	}
	for range 50 {
		alice.expect(sent)
	}
	for i := range 50 {
		bob.hears(alice.id, fmt.Sprint(i))
	}
	var stored, distinct int
	query(t, d, `SELECT count(*), count(DISTINCT content) FROM social.events WHERE peer = $1`, []any{alice.id}, &stored, &distinct)
	if stored != 50 || distinct != 50 {
		t.Errorf("%d rows with %d contents are stored, want 50 of each", stored, distinct)
	}
}

// query asks the database as its administrator.
func query(t *testing.T, d *local.Deployment, sql string, args []any, into ...any) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), d.PostgresURL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(into...); err != nil {
		t.Fatal(err)
	}
}
