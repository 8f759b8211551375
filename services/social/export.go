package social

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"

	"pymessage/internal/bell"
	"pymessage/internal/httpjson"
	"pymessage/services/social/socialapi"
)

// exportPage is how many events are read at once: an export may have millions.
const exportPage = 1000

// restEvent is an event of one's log.
type restEvent struct {
	ID      string    `json:"id"`
	Kind    bell.Kind `json:"kind"`
	User    int       `json:"user"`              // the other one
	Content string    `json:"content,omitempty"` // of a message
	SentAt  int64     `json:"sent_at"`           // Unix milliseconds
}

// restSent is a message that one has sent.
type restSent struct {
	ID        string `json:"id"`
	Recipient int    `json:"recipient"`
	Content   string `json:"content"`
	SentAt    int64  `json:"sent_at"`
}

// restExport writes all that this service knows of who asks, as it is read. What can
// fail for good fails before the first byte; later the answer breaks off.
func (s *server) restExport(w http.ResponseWriter, r *http.Request) {
	me, err := s.whoAsks(r)
	if err != nil {
		httpjson.WriteError(w, err)
		return
	}
	head, err := s.exportHead(r.Context(), me)
	if err != nil {
		httpjson.WriteError(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	out := bufio.NewWriter(w)
	e := exporter{server: s, me: me, out: out, json: json.NewEncoder(out)}
	if err := e.write(r.Context(), head); err != nil {
		if r.Context().Err() == nil {
			s.log.WarnContext(r.Context(), "an export broke off", "err", err)
		}
		panic(http.ErrAbortHandler) // so that nobody takes a part for all
	}
}

// restExportHead is the part of an export that is small.
type restExportHead struct {
	Friends  []restUser   `json:"friends"`
	Requests restRequests `json:"requests"`
	Blocked  []restUser   `json:"blocked"`
}

func (s *server) exportHead(ctx context.Context, me int) (out restExportHead, err error) {
	friends, err := s.store.friends(ctx, me)
	if err != nil {
		return out, err
	}
	if out.Friends, err = s.people(ctx, friends); err != nil {
		return out, err
	}
	if out.Requests, err = s.requestsOf(ctx, me); err != nil {
		return out, err
	}
	blocked, err := s.store.blocked(ctx, me)
	if err != nil {
		return out, err
	}
	out.Blocked, err = s.people(ctx, blocked)
	return out, err
}

type exporter struct {
	*server
	me   int
	out  *bufio.Writer
	json *json.Encoder
	any  bool // there was an element of the list before
}

func (e *exporter) write(ctx context.Context, head restExportHead) error {
	text, err := json.Marshal(head)
	if err != nil {
		return err
	}
	e.out.Write(text[:len(text)-1]) // errors stick: the last Flush tells
	e.out.WriteString(`,"events":[`)
	if err := e.events(ctx); err != nil {
		return err
	}
	e.out.WriteString(`],"sent":[`)
	e.any = false
	if err := e.sent(ctx); err != nil {
		return err
	}
	e.out.WriteString("]}\n")
	return e.out.Flush()
}

// element writes one of a list.
func (e *exporter) element(v any) error {
	if e.any {
		e.out.WriteByte(',')
	}
	e.any = true
	return e.json.Encode(v)
}

// events writes the user's own log.
func (e *exporter) events(ctx context.Context) error {
	for after, more := int64(0), true; more; {
		page, err := e.store.read(ctx, socialapi.ReadRequest{User: e.me, After: after, Limit: exportPage})
		if err != nil {
			return err
		}
		for _, ev := range page.Events {
			after = ev.Seq
			if ev.Kind == bell.KindTombstone || ev.Kind == "" {
				continue
			}
			if err := e.element(restEvent{eventID(e.me, ev.Seq), ev.Kind, ev.Peer, ev.Content, ev.SentAt}); err != nil {
				return err
			}
		}
		more = after < page.Head && len(page.Events) > 0
	}
	return nil
}

// sent writes what the user wrote to others, which is in their logs.
func (e *exporter) sent(ctx context.Context) error {
	for after, more := 0, true; more; {
		recipients, err := e.store.recipients(ctx, e.me, after, deletedContacts)
		if err != nil {
			return err
		}
		for _, recipient := range recipients {
			after = recipient
			if err := e.sentTo(ctx, recipient); err != nil {
				return err
			}
		}
		more = len(recipients) == deletedContacts
	}
	return nil
}

func (e *exporter) sentTo(ctx context.Context, recipient int) error {
	for after, more := int64(0), true; more; {
		page, err := e.store.sentTo(ctx, e.me, recipient, after, exportPage)
		if err != nil {
			return err
		}
		for _, m := range page {
			after = m.Seq
			if err := e.element(restSent{eventID(recipient, m.Seq), recipient, m.Content, m.SentAt}); err != nil {
				return err
			}
		}
		more = len(page) == exportPage
	}
	return nil
}
