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

const (
	// dialTimeout bounds a connection attempt: Redis is near, or it is away.
	dialTimeout = 2 * time.Second
	// topologyAge is how old a client's idea may become of which node of a cluster has
	// which slots. Redirections correct it too, but a node that is gone gives none.
	topologyAge = time.Second
	// nodeTimeout bounds the wait for any answer of a node: go-redis asks for the
	// topology without a limit of ours, and others know it too.
	nodeTimeout = time.Second
	// protocol is RESP2. Before each command of RESP3 go-redis looks whether the server
	// has pushed something, which costs more than to write the command.
	protocol = 2
)

// Connect makes a client of a single Redis from a redis:// URL. It does not connect
// yet.
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
		return nil, errURL
	}
	opts.ContextTimeoutEnabled = true
	opts.MaxRetries = -1
	opts.DialerRetries = 1 // one attempt: a refused connection is known at once
	opts.Protocol = protocol
	opts.DialTimeout = dialTimeout
	opts.DisableIdentity = true // older servers refuse it, at every connection
	// Of use to managed Redis only; elsewhere each connection would ask in vain.
	opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return opts, nil
}

// clusterOptions are those of our clients of a Redis Cluster. They follow
// redirections, and try again while a master is replaced: within the same limits.
func clusterOptions(url string) (*redis.ClusterOptions, error) {
	quietLibrary()
	opts, err := redis.ParseClusterURL(url)
	if err != nil {
		return nil, errURL
	}
	opts.ContextTimeoutEnabled = true
	opts.DialerRetries = 1
	opts.Protocol = protocol
	opts.DialTimeout = dialTimeout
	opts.DisableIdentity = true
	opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	opts.ReadTimeout = nodeTimeout
	opts.ClusterStateReloadInterval = topologyAge
	return opts, nil
}

// errURL hides its cause, which may hold the password.
var errURL = errors.New("REDIS_URL is not a valid Redis URL")

// quietLibrary sends what go-redis logs by itself, which it does for errors that it
// returns as well, where the other debug messages go.
var quietLibrary = sync.OnceFunc(func() { redis.SetLogger(libraryLog{}) })

type libraryLog struct{}

func (libraryLog) Printf(ctx context.Context, format string, v ...any) {
	slog.DebugContext(ctx, "go-redis: "+fmt.Sprintf(format, v...))
}
