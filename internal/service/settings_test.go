package service_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pymessage/internal/service"
)

// settings are those of a service that exists only here.
type settings struct {
	service.Common

	Addr   string         `env:"ADDR" help:"where it listens" envDefault:":1"`
	Key    service.Secret `env:"KEY,required,notEmpty" help:"what nobody may read"`
	Size   int            `env:"SIZE" help:"how much" envDefault:"3"`
	Pause  time.Duration  `env:"PAUSE" help:"how long" envDefault:"1s"`
	Hidden string         // no setting
}

func (s *settings) Validate() []error {
	faults := []error{service.CheckSecret("KEY", s.Key)}
	if s.Size < 1 {
		faults = append(faults, errors.New("SIZE must be positive"))
	}
	if s.Pause < time.Second {
		faults = append(faults, fmt.Errorf("  PAUSE must be at least a second"))
	}
	return faults
}

func TestSettingsComeFromTheEnvironmentOrTheirDefaults(t *testing.T) {
	t.Parallel()

	var got settings
	err := service.ParseSettings(&got, []string{"KEY=0123456789abcdef", "SIZE=4", "LOG_LEVEL=warn", "OTHER=x", "ADDR="})
	if err != nil {
		t.Fatal(err)
	}
	want := settings{
		Common: service.Common{OpsAddr: ":9090", LogLevel: slog.LevelWarn, DrainPause: 5 * time.Second},
		Addr:   ":1", Key: "0123456789abcdef", Size: 4, Pause: time.Second,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAllFaultsAreReportedAtOnceEachOnceWithoutValues(t *testing.T) {
	t.Parallel()

	for _, c := range []struct {
		environ []string
		want    []string
	}{
		{nil, []string{"  KEY is required"}},
		{[]string{"KEY="}, []string{"  KEY must not be empty"}},
		{[]string{"KEY=hunter2"}, []string{"  KEY must have at least 16 characters"}},
		{
			[]string{"KEY=hunter2", "SIZE=hunter2", "PAUSE=hunter2", "LOG_LEVEL=hunter2", "DRAIN_PAUSE=hunter2"},
			[]string{
				"  LOG_LEVEL is not a valid slog.Level", "  DRAIN_PAUSE is not a valid time.Duration",
				"  SIZE is not a valid int", "  PAUSE is not a valid time.Duration", "  KEY must have at least 16 characters",
			},
		},
		{
			[]string{"SIZE=0", "PAUSE=1ms"},
			[]string{"  KEY is required", "  SIZE must be positive", "  PAUSE must be at least a second"},
		},
	} {
		err := service.ParseSettings(&settings{}, c.environ)
		if err == nil {
			t.Fatalf("%q: no fault at all", c.environ)
		}
		want := append([]string{"settings are wrong:"}, c.want...)
		if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.environ, diff)
		}
	}
}

func TestSettingsAreListedInTheirOrder(t *testing.T) {
	t.Parallel()

	var names []string
	for _, s := range service.Settings(&settings{}) {
		names = append(names, s.Name)
	}
	if diff := cmp.Diff([]string{"OPS_ADDR", "LOG_LEVEL", "DRAIN_PAUSE", "ADDR", "KEY", "SIZE", "PAUSE"}, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	want := service.Setting{Name: "KEY", Field: "Key", Required: true, Help: "what nobody may read"}
	if diff := cmp.Diff(want, service.Settings(settings{})[4]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()

	var log strings.Builder
	s := settings{Key: "hunter2"}
	slog.New(slog.NewJSONHandler(&log, nil)).Info("starting", "key", s.Key)
	for _, printed := range []string{log.String(), fmt.Sprint(s), fmt.Sprintf("%v %+v %s", s, s, s.Key)} {
		if strings.Contains(printed, "hunter2") || !strings.Contains(printed, "(hidden)") {
			t.Error(printed)
		}
	}
}
