package stream_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pymessage/internal/fault"
	"pymessage/internal/httpjson"
	"pymessage/internal/stream"
	"pymessage/internal/testenv"
)

const secret = "a secret of the tests"

func TestMain(m *testing.M) { testenv.Main(m) }

// pod serves calls until it is stopped.
type pod struct {
	t       *testing.T
	http    *httptest.Server
	streams *stream.Server
	ended   chan error
	stop    context.CancelFunc
	opened  atomic.Int32 // connections
}

// newPod serves at address; empty is any.
func newPod(t *testing.T, address string, answer stream.Answer) *pod {
	t.Helper()
	p := &pod{t: t, streams: stream.NewServer(answer, slog.New(slog.DiscardHandler)), ended: make(chan error, 1)}
	p.http = httptest.NewUnstartedServer(httpjson.RequireSecret(secret)(p.streams))
	if address != "" {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		p.http.Listener.Close()
		p.http.Listener = l
	}
	p.http.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			p.opened.Add(1)
		}
	}
	p.http.Start()
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	go func() { p.ended <- p.streams.Run(ctx) }()
	t.Cleanup(p.end)
	return p
}

// end stops the pod and waits until it has answered what is under way.
func (p *pod) end() {
	if p.stop == nil {
		return
	}
	p.stop()
	p.stop = nil
	if err := <-p.ended; !errors.Is(err, context.Canceled) {
		p.t.Errorf("the streams ended with %v", err)
	}
	p.http.Close()
}

func newClient(t *testing.T, url string) *stream.Client {
	c := stream.NewClient(url, secret)
	t.Cleanup(c.Close)
	return c
}

// call sends a text and gives the text of the answer.
func call(ctx context.Context, c *stream.Client, text string) (answer string, err error) {
	err = c.Call(ctx, func(b []byte) []byte { return append(b, text...) }, func(b []byte) error {
		answer = string(b)
		return nil
	})
	return answer, err
}

// greet answers who is there, and fails for others in their ways.
func greet(_ context.Context, call, out []byte) ([]byte, error) {
	switch name := string(call); name {
	case "nobody":
		return nil, fault.New(fault.NotFound, "no such person")
	case "bug":
		return append(out, "half an answer"...), errors.New("index out of range")
	default:
		return append(append(out, "hello "...), name...), nil
	}
}

func TestAnAnswerAndEveryKindOfFaultCrossTheWire(t *testing.T) {
	t.Parallel()

	p := newPod(t, "", greet)
	c := newClient(t, p.http.URL)
	long := strings.Repeat("long ", 100_000)
	for _, name := range []string{"bob", "", long, "bob again"} {
		if answer, err := call(t.Context(), c, name); err != nil || answer != "hello "+name {
			t.Fatalf("%.20q: %.20q, %v", name, answer, err)
		}
	}
	_, err := call(t.Context(), c, "nobody")
	if !errors.Is(err, fault.NotFound) || fault.Message(err) != "no such person" {
		t.Errorf("got %v", err)
	}
	_, err = call(t.Context(), c, "bug")
	if !errors.Is(err, fault.Internal) || strings.Contains(err.Error(), "index") {
		t.Errorf("a defect leaks or has the wrong kind: %v", err)
	}
	if n := p.opened.Load(); n != 1 {
		t.Errorf("calls one after the other took %d connections", n)
	}
}

func TestManyCallsAtOnceEachGetTheirOwnAnswer(t *testing.T) {
	t.Parallel()

	c := newClient(t, newPod(t, "", greet).http.URL)
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			for j := range 50 {
				name := fmt.Sprint(i, " ", j)
				if answer, err := call(t.Context(), c, name); err != nil || answer != "hello "+name {
					t.Errorf("%q: %q, %v", name, answer, err)
				}
			}
		})
	}
	callers.Wait()
}

func TestWhatIsNotAStreamIsToldApart(t *testing.T) {
	t.Parallel()

	p := newPod(t, "", greet)
	guessing := stream.NewClient(p.http.URL, "guessed")
	defer guessing.Close()
	if _, err := call(t.Context(), guessing, "bob"); !errors.Is(err, fault.Forbidden) {
		t.Errorf("a wrong secret: %v", err)
	}
	earlier := httptest.NewServer(http.NotFoundHandler())
	defer earlier.Close()
	if _, err := call(t.Context(), newClient(t, earlier.URL), "bob"); !errors.Is(err, stream.ErrNotSpoken) {
		t.Errorf("a service of an earlier version: %v", err)
	}
	req, _ := http.NewRequest(http.MethodGet, p.http.URL, nil)
	req.Header.Set(httpjson.SecretHeader, secret)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUpgradeRequired || resp.Header.Get("Upgrade") == "" {
		t.Errorf("without an upgrade: status %d", resp.StatusCode)
	}
}

func TestAServiceThatWasReplacedIsFoundByTheNextCall(t *testing.T) {
	t.Parallel()

	first := newPod(t, "", greet)
	address := first.http.Listener.Addr().String()
	c := newClient(t, "http://"+address)
	if _, err := call(t.Context(), c, "bob"); err != nil {
		t.Fatal(err)
	}
	first.end()
	if _, err := call(t.Context(), c, "bob"); !errors.Is(err, fault.Unavailable) {
		t.Fatalf("nobody is there: %v", err)
	}
	second := newPod(t, address, greet)
	if answer, err := call(t.Context(), c, "bob"); err != nil || answer != "hello bob" {
		t.Fatalf("%q, %v", answer, err)
	}
	second.end()
	newPod(t, address, greet)
	if answer, err := call(t.Context(), c, "bob"); err != nil || answer != "hello bob" {
		t.Fatalf("%q, %v", answer, err)
	}
}

func TestAServiceThatStopsAnswersTheCallUnderWay(t *testing.T) {
	t.Parallel()

	came, goOn := make(chan struct{}), make(chan struct{})
	p := newPod(t, "", func(ctx context.Context, call, out []byte) ([]byte, error) {
		if string(call) == "bob" {
			close(came)
			<-goOn
		}
		return greet(ctx, call, out)
	})
	c := newClient(t, p.http.URL)
	answered := make(chan error, 1)
	go func() {
		_, err := call(t.Context(), c, "bob")
		answered <- err
	}()
	<-came
	stopped := make(chan struct{})
	go func() { defer close(stopped); p.end() }()
	for { // until it takes no connections any more
		if _, err := call(t.Context(), newClient(t, p.http.URL), "nobody"); errors.Is(err, fault.Unavailable) {
			break
		}
	}
	close(goOn)
	if err := <-answered; err != nil {
		t.Errorf("the call under way: %v", err)
	}
	<-stopped
}

func TestACallEndsWithItsContext(t *testing.T) {
	t.Parallel()

	came, goOn := make(chan struct{}, 1), make(chan struct{})
	p := newPod(t, "", func(_ context.Context, _, out []byte) ([]byte, error) {
		came <- struct{}{}
		<-goOn
		return out, nil
	})
	defer close(goOn)
	c := newClient(t, p.http.URL)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-came; cancel() }()
	if _, err := call(ctx, c, "bob"); !errors.Is(err, fault.Unavailable) {
		t.Errorf("cancelled: %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := call(ctx, c, "bob"); !errors.Is(err, fault.Unavailable) {
		t.Errorf("timed out: %v", err)
	}
}

func TestAFrameThatIsTooLongEndsTheConnection(t *testing.T) {
	t.Parallel()

	p := newPod(t, "", greet)
	conn, err := net.Dial("tcp", p.http.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: pymessage-stream\r\n%s: %s\r\n\r\n", httpjson.SecretHeader, secret)
	if _, err := conn.Write(binary.BigEndian.AppendUint32(nil, 1<<31)); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	buf := make([]byte, 1024)
	for {
		n, err := conn.Read(buf)
		all.Write(buf[:n])
		if err != nil {
			break
		}
	}
	if got := all.String(); !strings.HasPrefix(got, "HTTP/1.1 101 ") || !strings.HasSuffix(got, "\r\n\r\n") {
		t.Errorf("got %q", got)
	}
}
