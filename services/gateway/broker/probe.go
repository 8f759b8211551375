package broker

import (
	"context"
	"time"
)

const (
	// sightTimeout bounds the two commands below: whoever asks has other news too.
	sightTimeout = time.Second
	// sightLife is how long a sight is kept: longer than any pause between two.
	sightLife = 10 * time.Minute
)

// Sighted tells the other gateways that rings come through, as mark says: it is
// different each time.
func (b *Broker) Sighted(ctx context.Context, mark string) error {
	ctx, cancel := context.WithTimeout(ctx, sightTimeout)
	defer cancel()
	return b.rdb.Set(ctx, b.sightKey(), mark, sightLife).Err()
}

// LastSight is the mark of the gateway to which rings came through last. An error
// means that Redis cannot be asked, or that there was none for long.
func (b *Broker) LastSight(ctx context.Context) (mark string, err error) {
	ctx, cancel := context.WithTimeout(ctx, sightTimeout)
	defer cancel()
	return b.rdb.Get(ctx, b.sightKey()).Result()
}

func (b *Broker) sightKey() string { return b.channels.Prefix + ":sighted" }
