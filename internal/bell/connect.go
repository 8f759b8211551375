package bell

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// dialTimeout bounds a connection attempt: Redis is near, or it is away.
const dialTimeout = 2 * time.Second

// Connect makes a Redis client from a redis:// URL. It does not connect yet.
func Connect(url string) (*redis.Client, error) {
	opts, err := Options(url)
	if err != nil {
		return nil, err
	}
	return redis.NewClient(opts), nil
}

// Options are those of all our Redis clients: commands are bounded by their
// contexts and never retried, since whoever asks knows better whether a late answer
// is still of use.
func Options(url string) (*redis.Options, error) {
	quietLibrary()
	opts, err := redis.ParseURL(url)
	if err != nil {
		return nil, errors.New("REDIS_URL is not a valid Redis URL") // the cause may hold the password
	}
	opts.ContextTimeoutEnabled = true
	opts.MaxRetries = -1
	opts.DialerRetries = 1 // one attempt: a refused connection is known at once
	opts.DialTimeout = dialTimeout
	opts.DisableIdentity = true // older servers refuse it, at every connection
	// Of use to managed Redis only; elsewhere each connection would ask in vain.
	opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return opts, nil
}

// quietLibrary sends what go-redis logs by itself, which it does for errors that it
// returns as well, where the other debug messages go.
var quietLibrary = sync.OnceFunc(func() { redis.SetLogger(libraryLog{}) })

type libraryLog struct{}

func (libraryLog) Printf(ctx context.Context, format string, v ...any) {
	slog.DebugContext(ctx, "go-redis: "+fmt.Sprintf(format, v...))
}
