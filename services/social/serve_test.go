package social

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"pymessage/internal/service"
	"pymessage/internal/stores"
	"pymessage/internal/testenv"
	"pymessage/services/social/socialapi"
)

// address is one of this machine that nobody listens on.
func address(t *testing.T) string {
	t.Helper()
	port, err := stores.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return "127.0.0.1:" + strconv.Itoa(port)
}

// readyLog tells when a process logs that it is ready.
type readyLog struct {
	slog.Handler
	ready chan struct{}
}

func (l *readyLog) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "ready" {
		close(l.ready)
	}
	return l.Handler.Handle(ctx, r)
}

func TestTheServiceIsReadyWithoutAccountsAndStopsWhenTold(t *testing.T) {
	t.Parallel()

	var cfg Config
	err := service.ParseSettings(&cfg, []string{
		"INTERNAL_SECRET=" + testSecret, "DATABASE_URL=" + testenv.Postgres(t), "DATABASE_CONNS=3",
		"ACCOUNTS_URL=http://" + address(t), "LISTEN_ADDR=" + address(t), "INTERNAL_ADDR=" + address(t),
		"OPS_ADDR=" + address(t), "DRAIN_PAUSE=0s", "REDIS_URL=redis://" + address(t), // nobody is there
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := Migrate(t.Context(), string(cfg.DatabaseURL), testenv.Logger(t)); err != nil {
		t.Fatal(err)
	}
	log := &readyLog{testenv.Logger(t).Handler(), make(chan struct{})}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, cfg, service.NewProcess(cfg.Common, slog.New(log))) }()
	select {
	case <-log.ready:
	case err := <-served:
		t.Fatalf("it ended: %v", err)
	}

	client := socialapi.NewClient("http://"+cfg.InternalAddr, testSecret)
	defer client.Close()
	b := socialapi.Batch{Lane: "lane", Number: 1, Messages: []socialapi.Message{message(minID, minID, "hi")}}
	out, err := client.Send(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	wantResults(t, out, refused(socialapi.RefusedUnavailable))
	if _, err := client.Heads(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if status, _ := get(t, "http://"+cfg.ListenAddr+"/"); status != http.StatusNotFound {
		t.Errorf("public port: status %d", status)
	}
	_, metrics := get(t, "http://"+cfg.OpsAddr+"/metrics")
	for _, line := range []string{
		`pymessage_social_messages_refused_total{reason="unavailable"} 1`,
		`pymessage_social_messages_refused_total{reason="not_friend"} 0`,
		`pymessage_social_messages_stored_total 0`,
		`pymessage_social_batch_messages_count 1`,
		`pymessage_social_nonces_repeated_total 0`,
		`pymessage_social_store_seconds_count{operation="send"} 1`,
		`pymessage_social_account_lookups_total{outcome="failed"} 1`,
		`pymessage_http_request_duration_seconds_count{code="2xx",method="POST",route="/internal/v1/inbox/heads"} 1`,
		`pymessage_postgres_connections_max 3`,
	} {
		if !strings.Contains(metrics, "\n"+line+"\n") {
			t.Errorf("%s is not among the metrics", line)
		}
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(all)
}

func TestMigratingAgainAndBySeveralAtOnceChangesNothing(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	u := w.users(1)[0]
	w.fill(u, 1)
	epoch := w.open(u).Epoch
	var group errgroup.Group
	for range 3 {
		group.Go(func() error { return Migrate(t.Context(), string(w.cfg.DatabaseURL), testenv.Logger(t)) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if o := w.open(u); o.Epoch != epoch || o.Head != 1 {
		t.Errorf("opening %+v, epoch was %s", o, epoch)
	}
	other := newWorld(t)
	if other.open(minID).Epoch == epoch {
		t.Error("two logs have one epoch")
	}
}

func TestTheDefaultsAreThoseOfTheDesign(t *testing.T) {
	t.Parallel()

	var cfg Config
	err := service.ParseSettings(&cfg, []string{
		"INTERNAL_SECRET=0123456789abcdef", "DATABASE_URL=postgres://social@db/pymessage", "ACCOUNTS_URL=http://accounts:8081",
		"REDIS_URL=redis://cache",
	})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.ListenAddr != ":8080" || cfg.InternalAddr != ":8081" || cfg.OpsAddr != ":9090" ||
		cfg.MessagePolicy != policyAnyone || cfg.MaxPendingRequests != 1000 || cfg.DatabaseConns != 16 ||
		cfg.NonceRetention != 7*24*time.Hour || cfg.MessageRetention != 0 {
		t.Errorf("the defaults are %+v", cfg)
	}
}

func TestMessagesAreKeptUnlessToldOtherwise(t *testing.T) {
	t.Parallel()

	for given, want := range map[string]time.Duration{"": 0, "0": 0, "0s": 0, "1s": time.Second, "720h": 30 * 24 * time.Hour} {
		var cfg Config
		err := service.ParseSettings(&cfg, []string{
			"INTERNAL_SECRET=0123456789abcdef", "DATABASE_URL=postgres://social@db/pymessage", "ACCOUNTS_URL=http://accounts:8081",
			"REDIS_URL=redis://cache", "MESSAGE_RETENTION=" + given,
		})
		if err != nil || cfg.MessageRetention != want {
			t.Errorf("%q is %v, want %v (%v)", given, cfg.MessageRetention, want, err)
		}
	}
}

func TestAllWrongSettingsAreReportedAtOnceWithoutTheirValues(t *testing.T) {
	t.Parallel()

	var cfg Config
	err := service.ParseSettings(&cfg, []string{
		"INTERNAL_SECRET=hunter2", "DATABASE_URL=hunter2://%zz", "ACCOUNTS_URL=hunter2", "MESSAGE_POLICY=hunter2",
		"DATABASE_CONNS=0", "MAX_PENDING_REQUESTS=many", "NONCE_RETENTION=59s",
		"MESSAGE_RETENTION=999ms",
		"REDIS_URL=http://hunter2",
	})
	if err == nil {
		t.Fatal("no fault at all")
	}
	for _, want := range []string{
		"INTERNAL_SECRET must have at least 16", "DATABASE_URL is not", "ACCOUNTS_URL is not", "MESSAGE_POLICY must be anyone or friends",
		"DATABASE_CONNS must be between 1 and 1000", "MAX_PENDING_REQUESTS is not a valid int",
		"NONCE_RETENTION must be at least 1m0s", "MESSAGE_RETENTION must be 0, which keeps everything, or at least 1s",
		"REDIS_URL is not a valid Redis URL",
	} {
		if !strings.Contains(err.Error(), "\n  "+want) {
			t.Errorf("%q is not among the faults", want)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a value is told: %v", err)
	}
}
