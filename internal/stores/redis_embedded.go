package stores

import (
	"context"
	"errors"
	"syscall"

	"github.com/alicebob/miniredis/v2"
)

// redisEmbedded is a Redis inside this process.
type redisEmbedded struct {
	mini  *miniredis.Miniredis
	ended chan struct{}
}

func (e *redisEmbedded) launch(_ context.Context, port int, password string) error {
	e.mini = miniredis.NewMiniRedis()
	e.mini.RequireAuth(password)
	if err := e.mini.StartAddr(loopback(port)); err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return errors.Join(errPassing, err)
		}
		return err
	}
	e.ended = make(chan struct{})
	return nil
}

func (e *redisEmbedded) done() <-chan struct{} { return e.ended }

// end has no gentler and harsher way.
func (e *redisEmbedded) end(context.Context, syscall.Signal) error {
	select {
	case <-e.ended:
	default:
		e.mini.Close()
		close(e.ended)
	}
	return nil
}

func (e *redisEmbedded) signal(syscall.Signal) error {
	return errors.New("an embedded Redis cannot be frozen: install redis-server")
}

func (e *redisEmbedded) pid() int { return 0 }

func (e *redisEmbedded) logFile() *logFile { return nil }
