package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"pymessage/internal/httpjson"
	"pymessage/internal/local"
	"pymessage/internal/stream"
	"pymessage/services/social/socialapi"
)

// proxy stands between the gateways and social, and can lose an answer after social
// has committed what it says.
type proxy struct {
	*httptest.Server
	target atomic.Pointer[string]
	sends  *stream.Server                // takes batches from gateways
	social atomic.Pointer[stream.Client] // hands them on
	onSend atomic.Pointer[func()]        // called once, when social has answered a batch; the answer is then lost
}

func newProxy(t *testing.T) *proxy {
	p := &proxy{}
	p.sends = stream.NewServer(p.forwardSend, slog.New(slog.DiscardHandler))
	p.Server = httptest.NewServer(http.HandlerFunc(p.forward))
	t.Cleanup(func() {
		p.Close()
		if client := p.social.Load(); client != nil {
			client.Close()
		}
	})
	return p
}

// forwardSend hands on a batch.
func (p *proxy) forwardSend(ctx context.Context, call, out []byte) ([]byte, error) {
	err := p.social.Load().Call(ctx,
		func(b []byte) []byte { return append(b, call...) },
		func(answer []byte) error { out = append(out, answer...); return nil })
	if f := p.onSend.Swap(nil); f != nil && err == nil {
		(*f)()
		panic(http.ErrAbortHandler)
	}
	return out, err
}

func (p *proxy) forward(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == socialapi.PathSendStream {
		p.social.CompareAndSwap(nil, stream.NewClient(*p.target.Load()+r.URL.Path, r.Header.Get(httpjson.SecretHeader)))
		p.sends.ServeHTTP(w, r)
		return
	}
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
	select {
	case err := <-killed:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatal("no batch was sent")
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
