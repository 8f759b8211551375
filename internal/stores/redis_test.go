package stores

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// bothRedises runs a test on a real server and on the embedded one.
func bothRedises(t *testing.T, test func(t *testing.T, r *Redis)) {
	for name, server := range map[string]redisServer{"process": nil, "embedded": &redisEmbedded{}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, startRedis(t, server))
		})
	}
}

// startRedis starts a server, which is a process if none is given.
func startRedis(t *testing.T, server redisServer) *Redis {
	t.Helper()
	r, err := newRedis(RedisOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if server != nil {
		r.server = server
	}
	if r.port, err = FreePort(); err != nil {
		t.Fatal(err)
	}
	if err := r.launch(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Kill(context.Background()) })
	return r
}

func client(t *testing.T, r *Redis) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(r.URL())
	if err != nil {
		t.Fatal(err)
	}
	options.ContextTimeoutEnabled = true
	c := redis.NewClient(options)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestRedisForgetsAllBetweenRuns(t *testing.T) {
	t.Parallel()
	bothRedises(t, func(t *testing.T, r *Redis) {
		if err := client(t, r).Set(t.Context(), "key", "value", 0).Err(); err != nil {
			t.Fatal(err)
		}
		ended, address := r.Done(), r.URL()
		if err := r.Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-ended
		if err := r.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := client(t, r).Get(t.Context(), "key").Err(); !errors.Is(err, redis.Nil) {
			t.Errorf("after the restart: %v", err)
		}
		if r.URL() != address {
			t.Errorf("the URL changed from %s to %s", address, r.URL())
		}
		if err := errors.Join(r.Stop(t.Context()), r.Stop(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

func TestRedisWantsItsPassword(t *testing.T) {
	t.Parallel()
	bothRedises(t, func(t *testing.T, r *Redis) {
		options, err := redis.ParseURL(strings.Replace(r.URL(), r.password, "guess", 1))
		if err != nil {
			t.Fatal(err)
		}
		c := redis.NewClient(options)
		defer c.Close()
		if err := c.Ping(t.Context()).Err(); err == nil {
			t.Error("a wrong password was taken")
		}
	})
}

func TestRedisTellsWhoSubscribes(t *testing.T) {
	t.Parallel()
	bothRedises(t, func(t *testing.T, r *Redis) {
		c := client(t, r)
		sub := c.Subscribe(t.Context(), "channel")
		defer sub.Close()
		if _, err := sub.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
		got, err := c.PubSubNumSub(t.Context(), "channel").Result()
		if err != nil || got["channel"] != 1 {
			t.Errorf("got %v, %v", got, err)
		}
	})
}

func TestTakenRedisPortIsAPassingFault(t *testing.T) {
	t.Parallel()
	bothRedises(t, func(t *testing.T, r *Redis) {
		if err := r.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", loopback(r.port))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := r.launch(ctx); !errors.Is(err, errPassing) {
			t.Errorf("got %v", err)
		}
	})
}

func TestFrozenRedisHangsUntilItIsThawed(t *testing.T) {
	t.Parallel()
	r := startRedis(t, nil)
	c := client(t, r)
	if err := r.Freeze(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := c.Ping(ctx).Err(); err == nil {
		t.Error("a frozen server answered")
	}
	if err := r.Thaw(); err != nil {
		t.Fatal(err)
	}
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
}

func TestFrozenRedisCanBeStopped(t *testing.T) {
	t.Parallel()
	r := startRedis(t, nil)
	if err := r.Freeze(); err != nil {
		t.Fatal(err)
	}
	if err := r.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestEmbeddedRedisIsOnlyForWhereThereIsNoOther(t *testing.T) {
	t.Parallel()
	r, err := StartRedis(t.Context(), RedisOptions{Dir: t.TempDir(), Embedded: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Kill(context.Background()) })
	if r.Embedded() || r.LogFile() == "" {
		t.Error("an installed redis-server was not used")
	}
	embedded := startRedis(t, &redisEmbedded{})
	if !embedded.Embedded() || embedded.LogFile() != "" || embedded.Freeze() == nil {
		t.Error("the embedded server does not tell that it is one")
	}
}
