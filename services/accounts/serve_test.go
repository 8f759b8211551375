package accounts

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"pymessage/internal/service"
	"pymessage/internal/stores"
	"pymessage/internal/testenv"
	"pymessage/services/accounts/accountsapi"
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

func TestTheServiceIsReadyOnceItsSchemaIsThereAndStopsWhenTold(t *testing.T) {
	t.Parallel()

	cfg := testConfig(t)
	cfg.ListenAddr, cfg.InternalAddr, cfg.OpsAddr = address(t), address(t), address(t)
	book, log := testenv.NewLogBook()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, cfg, service.NewProcess(cfg.Common, log)) }()

	book.Await(t, "waiting for a dependency")
	if got := ask(t, http.MethodGet, "http://"+cfg.OpsAddr+"/readyz"); got.Status != 503 || !strings.Contains(got.Body, "postgres") {
		t.Errorf("without its schema: %+v", got)
	}
	migrate(t, cfg)
	book.Await(t, `"msg":"ready"`)
	if got := ask(t, http.MethodGet, "http://"+cfg.OpsAddr+"/readyz"); got.Status != 200 {
		t.Errorf("with its schema: %+v", got)
	}

	c := accountsapi.NewClient("http://"+cfg.InternalAddr, string(cfg.InternalSecret))
	defer c.Close()
	bob, err := c.Create(t.Context(), newcomer("bob", "1234"))
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(t, http.MethodGet, "http://"+cfg.ListenAddr+"/get_user?id="+strconv.Itoa(bob.ID)); got.Body != `{"user":{"username":"bob"}}` {
		t.Errorf("get_user: %+v", got)
	}
	wantMetrics(t, cfg.OpsAddr,
		`pymessage_accounts_creations_total{outcome="ok"} 1`,
		`pymessage_accounts_logins_total{outcome="unauthorized"} 0`,
		`pymessage_accounts_resumes_total{outcome="unauthorized"} 0`,
		`pymessage_accounts_sessions_ended_total{reason="logout"} 0`,
		`pymessage_rings_total{outcome="published"} 0`,
		`pymessage_http_request_duration_seconds_count{code="2xx",method="GET",route="/get_user"} 1`,
		`pymessage_http_request_duration_seconds_count{code="2xx",method="POST",route="/internal/v1/users/create"} 1`,
		`pymessage_postgres_connections_max 4`,
		`pymessage_accounts_pin_queue_length 0`,
		`pymessage_accounts_pin_wait_seconds_count 2`)
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func wantMetrics(t *testing.T, opsAddr string, lines ...string) {
	t.Helper()
	got := ask(t, http.MethodGet, "http://"+opsAddr+"/metrics")
	for _, line := range lines {
		if !strings.Contains(got.Body+"\n", "\n"+line+"\n") {
			t.Errorf("%s is not among the metrics", line)
		}
	}
	if t.Failed() {
		t.Log(got.Body)
	}
}

func TestWrongURLsStopTheStart(t *testing.T) {
	t.Parallel()

	for name, change := range map[string]func(*Config){
		"DATABASE_URL": func(c *Config) { c.DatabaseURL = "postgres://bob:hunter2@%zz" },
		"REDIS_URL":    func(c *Config) { c.RedisURL = "http://bob:hunter2@cache" },
	} {
		cfg := testConfig(t)
		change(&cfg)
		_, log := testenv.NewLogBook()
		err := Serve(t.Context(), cfg, service.NewProcess(cfg.Common, log))
		if err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// required are the settings without a default.
var required = []string{
	"INTERNAL_SECRET=0123456789abcdef", "DATABASE_URL=postgres://accounts@db/pymessage",
	"REDIS_URL=redis://cache", "PIN_PEPPER=0123456789abcdef", "SOCIAL_URL=http://social",
}

func TestTheDefaultsAreThoseOfTheDesign(t *testing.T) {
	t.Parallel()

	var cfg Config
	if err := service.ParseSettings(&cfg, required); err != nil {
		t.Fatal(err)
	}
	if cfg.ListenAddr != ":8080" || cfg.InternalAddr != ":8081" || cfg.OpsAddr != ":9090" || cfg.RedisPrefix != "pymessage" ||
		cfg.Argon2MemoryKiB != 19456 || cfg.Argon2Time != 2 || cfg.Argon2Workers != 0 || cfg.Argon2Queue != 256 ||
		cfg.LoginFailuresPerAccount != 20 || cfg.LoginFailuresPerAddress != 1000 || cfg.LoginFailuresOverall != 10000 ||
		cfg.CreationsPerAddress != 1000 || cfg.LoginWindow != 5*time.Minute ||
		cfg.SessionLifetime != 30*24*time.Hour || cfg.MaxSessionsPerAccount != 100 || cfg.DeletionGrace != 2*time.Minute {
		t.Errorf("the defaults are %+v", cfg)
	}
}

func TestAllWrongSettingsAreReportedAtOnceWithoutTheirValues(t *testing.T) {
	t.Parallel()

	var cfg Config
	err := service.ParseSettings(&cfg, []string{
		"INTERNAL_SECRET=hunter2", "PIN_PEPPER=", "SOCIAL_URL=hunter2:", "DELETION_GRACE=-1s", "DATABASE_URL=hunter2://", "REDIS_URL=hunter2://",
		"DATABASE_CONNS=0", "ARGON2_MEMORY_KIB=9999999", "ARGON2_TIME=many", "LOGIN_WINDOW=1ms",
		"LOGIN_FAILURES_PER_ACCOUNT=0", "CREATIONS_PER_ADDRESS=-1",
		"SESSION_LIFETIME=0s", "MAX_SESSIONS_PER_ACCOUNT=0",
	})
	if err == nil {
		t.Fatal("no fault at all")
	}
	for _, want := range []string{
		"  INTERNAL_SECRET must have at least 16 characters", "  PIN_PEPPER must not be empty",
		"  SOCIAL_URL is not a URL such as http://host:port", "  DELETION_GRACE must not be negative",
		"  DATABASE_URL is not a valid Postgres URL", "  REDIS_URL is not a valid Redis URL",
		"  DATABASE_CONNS must be between 1 and 1000",
		"  ARGON2_MEMORY_KIB must be between 8 and 262144", "  ARGON2_TIME is not a valid uint32",
		"  LOGIN_WINDOW must be at least a second", "  LOGIN_FAILURES_PER_ACCOUNT must be between 1 and 1000000000",
		"  CREATIONS_PER_ADDRESS must be between 1 and 1000000000",
		"  SESSION_LIFETIME must be at least a second", "  MAX_SESSIONS_PER_ACCOUNT must be between 1 and 10000",
	} {
		if !strings.Contains(err.Error()+"\n", want+"\n") {
			t.Errorf("missing: %s", want)
		}
	}
	if strings.Contains(err.Error(), "hunter2") || strings.Count(err.Error(), "\n") != 14 {
		t.Errorf("the report is:\n%v", err)
	}
}
