package chaos

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
)

// take deals with a frame.
func (d *device2) take(data []byte) {
	var f frame2
	if err := json.Unmarshal(data, &f); err != nil {
		d.rec.stray(d.id, "not what version 2 has", string(data))
		return
	}
	switch {
	case f.Ref == logoutRef && f.Type == "logout_resp":
		d.setState(over)
	case f.Ref == logoutRef && f.Code == "unavailable":
	case f.Ref != "":
		d.answered(f, data)
	case f.Type == "synced" && d.synced >= 0 && f.Seq >= d.synced:
		d.synced = -1
		d.wantWatch()
	case f.Type == "synced", f.Type == "resync", f.Type == "error":
		d.rec.stray(d.id, f.Type, string(data))
	case f.Seq > 0 && f.ID != nil:
		d.event(f, data)
	case f.Type == "online" || f.Type == "offline":
		d.rec.presence(d.socket, int(f.User), f.Type == "online")
	case f.Type != "heartbeat":
		d.rec.passing(Passing{
			User: d.id, Socket: d.socket.Number, Kind: f.Type, Peer: cmp.Or(f.Recipient, int(f.User)),
			State: f.State, ID: f.event(), Content: f.Content,
		})
	}
}

// event takes an event of the log.
func (d *device2) event(f frame2, data []byte) {
	if want := fmt.Sprintf("%d-%d", d.id, f.Seq); f.event() != want {
		d.rec.stray(d.id, "event with a wrong id", string(data))
	}
	d.rec.receipt(d.socket, Receipt{
		User: d.id, Kind: f.Type, Seq: f.Seq, Sender: cmp.Or(f.Sender, int(f.User)), Content: f.Content,
	})
	if f.Type == kindMessage {
		d.heard(f.Sender, f.Seq)
	}
	d.last = f.Seq
	d.mu.Lock()
	defer d.mu.Unlock()
	d.got = f.Seq
}

// answered ends a request.
func (d *device2) answered(f frame2, data []byte) {
	d.mu.Lock()
	i := slices.IndexFunc(d.waiting, func(r *request) bool { return r.ref == f.Ref })
	if i < 0 {
		d.mu.Unlock()
		d.rec.stray(d.id, "an answer without a request", string(data))
		return
	}
	r := d.waiting[i]
	isMessage := r.frame["nonce"] != nil
	if isMessage && (f.Code == "send_failed" || f.Code == "too_many_requests") {
		r.again = true
		d.mu.Unlock()
		return
	}
	d.waiting = slices.Delete(d.waiting, i, i+1)
	d.mu.Unlock()
	if r.deed != nil {
		d.did(r.deed, f, data)
		return
	}
	switch {
	case isMessage && f.Type == "send_resp" && (f.Status == "success" || f.Status == "queued"):
		d.rec.answer(r.send, Acknowledged, f.event())
	case !isMessage && f.Type == "request_resp" && f.Status == "sent":
		d.rec.answer(r.send, Acknowledged, "")
	case f.Code == "not_connected":
		d.rec.answer(r.send, Refused, "")
	case !isMessage && (f.Code == "request_failed" || f.Code == "too_many_requests"):
		d.rec.answer(r.send, Failed, "")
	default:
		d.rec.answer(r.send, Failed, "")
		d.rec.stray(d.id, "error", string(data))
	}
}
