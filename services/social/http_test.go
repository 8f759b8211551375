package social

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pymessage/internal/fault"
	"pymessage/services/social/socialapi"
)

func TestRequestsThatCanNeverSucceedAreInvalid(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	ctx := t.Context()
	messages := []socialapi.Message{message(minID, minID, "hi")}
	send := func(lane string, number int64, messages []socialapi.Message) func() error {
		return func() error {
			_, err := w.client.Send(ctx, socialapi.Batch{Lane: lane, Number: number, Messages: messages})
			return err
		}
	}
	read := func(user int, after int64, limit int) func() error {
		return func() error {
			_, err := w.client.Read(ctx, socialapi.ReadRequest{User: user, After: after, Limit: limit})
			return err
		}
	}
	for name, ask := range map[string]func() error{
		"no lane":           send("", 1, messages),
		"a long lane":       send(strings.Repeat("l", socialapi.MaxLaneName+1), 1, messages),
		"a lane with a NUL": send("\x00", 1, messages),
		"number 0":          send("lane", 0, messages),
		"no messages":       send("lane", 1, nil),
		"a huge batch":      send("lane", 1, make([]socialapi.Message, socialapi.MaxBatch+1)),
		"nobody's events":   read(0, 0, 1),
		"before the first":  read(minID, -1, 1),
		"no limit":          read(minID, 0, 0),
		"a huge page":       read(minID, 0, socialapi.MaxPage+1),
		"nobody's inbox":    func() error { _, err := w.client.Open(ctx, maxID+1); return err },
		"nobody's friends":  func() error { _, err := w.client.Friends(ctx, -1); return err },
		"nobody's requests": func() error { _, err := w.client.Requests(ctx, -1); return err },
		"nobody's history": func() error {
			_, err := w.client.History(ctx, socialapi.HistoryRequest{Peer: minID, Limit: 1})
			return err
		},
		"history without a limit": func() error {
			_, err := w.client.History(ctx, socialapi.HistoryRequest{User: minID, Peer: minID})
			return err
		},
		"history before nobody's event": func() error {
			_, err := w.client.History(ctx, socialapi.HistoryRequest{User: minID, Peer: minID, Limit: 1, BeforeSeq: 1})
			return err
		},
		"reading nothing": func() error {
			_, err := w.client.MarkRead(ctx, socialapi.ReadMark{Reader: minID, Peer: minID})
			return err
		},
		"nobody's blocks": func() error { _, err := w.client.Blocked(ctx, -1); return err },
		"many heads":      func() error { _, err := w.client.Heads(ctx, make([]int, socialapi.MaxUsers+1)); return err },
		"many positions": func() error {
			return w.client.SetPositions(ctx, socialapi.PositionsRequest{Positions: make([]socialapi.UserSeq, socialapi.MaxUsers+1)})
		},
		"nobody accepts": func() error { _, err := w.client.Accept(ctx, 0, minID); return err },
	} {
		if err := ask(); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.client.Deny(ctx, minID, 1<<40); !errors.Is(err, fault.NotFound) {
		t.Errorf("denying who cannot exist: %v", err)
	}
}

func TestInternalPathsNeedTheSecretAndThePublicPortHasNothing(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	pass := func(h http.Handler) http.Handler { return h }
	for _, c := range []struct {
		handler      http.Handler
		method, path string
		want         int
		code         string
	}{
		{w.handler, http.MethodPost, socialapi.PathSend, http.StatusForbidden, "forbidden"},
		{w.srv.publicHandler(pass), http.MethodPost, socialapi.PathSend, http.StatusNotFound, "not_found"},
		{w.srv.publicHandler(pass), http.MethodGet, "/", http.StatusNotFound, "not_found"},
	} {
		answer := httptest.NewRecorder()
		c.handler.ServeHTTP(answer, httptest.NewRequest(c.method, c.path, strings.NewReader("{}")))
		body, _ := io.ReadAll(answer.Body)
		if answer.Code != c.want || !strings.Contains(string(body), `"code":"`+c.code+`"`) {
			t.Errorf("%s %s: %d %s", c.method, c.path, answer.Code, body)
		}
	}
}

func TestWithoutItsStoreTheServiceIsUnavailable(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(2)
	w.pool.Close()
	for name, ask := range map[string]func() error{
		"send": func() error {
			_, err := w.client.Send(t.Context(), socialapi.Batch{Lane: "lane", Number: 1, Messages: []socialapi.Message{message(u[0], u[1], "hi")}})
			return err
		},
		"open": func() error { _, err := w.client.Open(t.Context(), u[0]); return err },
		"read": func() error {
			_, err := w.client.Read(t.Context(), socialapi.ReadRequest{User: u[0], Limit: 1})
			return err
		},
		"open many": func() error {
			_, err := w.client.OpenMany(t.Context(), []socialapi.UserRequest{{User: u[0]}, {User: u[1]}})
			return err
		},
		"read many": func() error {
			_, err := w.client.ReadMany(t.Context(), []socialapi.ReadRequest{{User: u[0], Limit: 1}, {User: u[1], Limit: 1}})
			return err
		},
		"heads":    func() error { _, err := w.client.Heads(t.Context(), u); return err },
		"friends":  func() error { _, err := w.client.Friends(t.Context(), u[0]); return err },
		"requests": func() error { _, err := w.client.Requests(t.Context(), u[0]); return err },
		"history": func() error {
			_, err := w.client.History(t.Context(), socialapi.HistoryRequest{User: u[0], Peer: u[1], Limit: 1})
			return err
		},
		"mark_read": func() error {
			_, err := w.client.MarkRead(t.Context(), socialapi.ReadMark{Reader: u[0], Peer: u[1], Seq: 1})
			return err
		},
		"blocked": func() error { _, err := w.client.Blocked(t.Context(), u[0]); return err },
		"block":   func() error { _, err := w.client.Block(t.Context(), u[0], u[1]); return err },
		"request": func() error { _, err := w.client.Request(t.Context(), u[0], u[1]); return err },
		"deny":    func() error { _, err := w.client.Deny(t.Context(), u[0], u[1]); return err },
		"positions": func() error {
			return w.client.SetPositions(t.Context(), socialapi.PositionsRequest{Positions: []socialapi.UserSeq{{User: u[0], Seq: 1}}})
		},
	} {
		if err := ask(); !errors.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
