package social

import (
	"errors"
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"pymessage/internal/fault"
	"pymessage/services/social/socialapi"
)

func TestALaneIsForgottenAfterADayAndMayGoOnAfterwards(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(2)
	for i := range 5 {
		w.send(fmt.Sprint("lane ", i), 3, message(u[0], u[1], "before"))
	}
	w.exec(`UPDATE lanes SET updated_at = now() - interval '25 hours' WHERE lane <> 'lane 4'`)
	if err := w.srv.pruneIdleLanes(t.Context(), laneIdle, 2); err != nil {
		t.Fatal(err)
	}
	if left := w.value(`SELECT count(*) FROM lanes`); left != 1 {
		t.Errorf("%d lanes are left", left)
	}
	wantResults(t, w.send("lane 0", 4, message(u[0], u[1], "after")), seq(6))
	if _, err := w.client.Send(t.Context(), socialapi.Batch{Lane: "lane 4", Number: 2, Messages: []socialapi.Message{message(u[0], u[1], "old")}}); !errors.Is(err, fault.Conflict) {
		t.Errorf("the lane in use was forgotten as well: %v", err)
	}
}

func TestOldNoncesAreForgottenAndYoungOnesAreNot(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(2)
	const nonces = 500
	var batch []socialapi.Message
	for i := range nonces {
		batch = append(batch, withNonce(u[0], u[1], fmt.Sprint(i), fmt.Sprint("nonce ", i)))
	}
	w.send("lane", 1, batch...)
	w.exec(`UPDATE nonces SET sent_at = now() - interval '169 hours' WHERE seq % 5 <> 1`)
	if blocks := w.value(`SELECT pg_relation_size('nonces') / current_setting('block_size')::bigint`); blocks < 5 {
		t.Fatalf("%d blocks prove nothing", blocks)
	}
	for range 3 {
		if err := w.srv.pruneOldNonces(t.Context(), w.cfg.NonceRetention, 2); err != nil {
			t.Fatal(err)
		}
		left := w.value(`SELECT count(*) FROM nonces`)
		young := w.value(`SELECT count(*) FROM nonces WHERE seq % 5 = 1`)
		if counted := testutil.ToFloat64(w.srv.metrics.noncesPruned); left != nonces/5 || young != left || counted != float64(nonces-left) {
			t.Errorf("%d nonces are left, %d of them young; %v were counted as forgotten", left, young, counted)
		}
		w.send("lane", 1, batch...) // gets what was kept, and does nothing
	}
	out := w.send("lane", 2, batch[0], batch[1]) // whose nonces are young and forgotten
	if r := out.Results; r[0].Seq != 1 || r[0].First == nil || r[1].Seq != nonces+1 || r[1].First != nil {
		t.Errorf("results %+v", r)
	}
}
