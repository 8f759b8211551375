package social

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sync/errgroup"

	"pymessage/services/social/socialapi"
)

// BenchmarkSendBatch stores batches of 100 messages among 1,000 users, on one lane
// and on several at once, under both policies. The server of the tests does not
// wait for the disk; TEST_POSTGRES_URL names one that does.
func BenchmarkSendBatch(b *testing.B) {
	for _, policy := range []string{policyAnyone, policyFriends} {
		for _, lanes := range []int{1, 2, 8} {
			b.Run(fmt.Sprintf("policy=%s/lanes=%d", policy, lanes), func(b *testing.B) {
				benchmarkSend(b, policy, lanes, 0, benchMessages)
			})
		}
	}
}

// BenchmarkSendBatchAmongBlocks is the same beside many blocks, of other users.
func BenchmarkSendBatchAmongBlocks(b *testing.B) {
	for _, blocks := range []int{0, 1000, 100_000} {
		b.Run(fmt.Sprintf("blocks=%d", blocks), func(b *testing.B) {
			benchmarkSend(b, policyAnyone, 2, blocks, benchMessages)
		})
	}
}

// BenchmarkSendBatchOfNonces is the same where every message has a nonce, which is
// new.
func BenchmarkSendBatchOfNonces(b *testing.B) {
	for _, lanes := range []int{1, 2, 8} {
		b.Run(fmt.Sprintf("policy=%s/lanes=%d", policyAnyone, lanes), func(b *testing.B) {
			benchmarkSend(b, policyAnyone, lanes, 0, benchNonces)
		})
	}
}

// BenchmarkSendBatchOfSize stores batches of other sizes: those of a gateway that has
// little to do are small.
func BenchmarkSendBatchOfSize(b *testing.B) {
	for _, size := range []int{1, 16, 256} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			benchmarkSend(b, policyAnyone, 1, 0, func(users []int, which int) []socialapi.Message {
				return benchMessagesOf(users, which, size)
			})
		})
	}
}

// BenchmarkSendBatchBesidePruning is the same while a million old messages of the
// same users are deleted.
func BenchmarkSendBatchBesidePruning(b *testing.B) {
	for _, age := range []time.Duration{0, time.Hour} {
		b.Run(fmt.Sprint("retention=", age), func(b *testing.B) {
			benchmarkSend(b, policyAnyone, 2, 0, benchMessages, func(w *world, users []int) { w.pruneBeside(b, users, age) })
		})
	}
}

// pruneBeside fills the inboxes with old messages, and begins to delete them.
func (w *world) pruneBeside(b *testing.B, users []int, age time.Duration) {
	const each = 1000
	w.exec(`INSERT INTO events
		SELECT user_id, seq, 1, user_id, $3, now() - interval '2 hours'
		FROM generate_series(1, $2) AS seq, unnest($1::integer[]) AS user_id`, users, each, benchContent)
	w.exec(`UPDATE inboxes SET head = $1`, each)
	w.exec(`INSERT INTO positions SELECT user_id, head FROM inboxes`)
	w.exec(`VACUUM ANALYZE events`)
	w.srv.messageAge = age
	ctx, stop := context.WithCancel(b.Context())
	var pruning errgroup.Group
	pruning.Go(func() error { return w.srv.pruneInboxes(ctx) })
	b.Cleanup(func() {
		stop()
		_ = pruning.Wait() // it was stopped
		b.ReportMetric(testutil.ToFloat64(w.srv.metrics.eventsPruned)/b.Elapsed().Seconds(), "pruned/s")
	})
}

const (
	benchUsers = 1000
	benchBatch = 100
)

func benchmarkSend(b *testing.B, policy string, lanes, blocks int, messages func(users []int, which int) []socialapi.Message,
	prepare ...func(w *world, users []int)) {
	w := newWorld(b, func(c *Config) { c.MessagePolicy = policy })
	users := w.users(benchUsers)
	w.befriendNeighbours(users)
	w.exec(`INSERT INTO inboxes (user_id) SELECT unnest($1::integer[])`, users)
	w.exec(`INSERT INTO pairs (low, high, low_blocks)
		SELECT $1 + which % 1000, $1 + 2000 + which, now() FROM generate_series(1, $2) AS which`, minID, blocks)
	w.exec(`ANALYZE pairs`)
	for _, f := range prepare {
		f(w, users)
	}
	var batches, stored atomic.Int64
	var group errgroup.Group
	b.ResetTimer()
	for lane := range lanes {
		group.Go(func() error {
			batch := socialapi.Batch{Lane: fmt.Sprint("lane ", lane)}
			for batches.Add(1) <= int64(b.N) {
				batch.Number++
				batch.Messages = messages(users, lane+lanes*int(batch.Number))
				if _, _, err := w.store(batch, make([]socialapi.Refusal, len(batch.Messages))); err != nil {
					return err
				}
				stored.Add(int64(len(batch.Messages)))
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(stored.Load())/b.Elapsed().Seconds(), "messages/s")
}

// befriendNeighbours makes friends of users beside each other.
func (w *world) befriendNeighbours(users []int) {
	w.exec(`INSERT INTO pairs (low, high, state)
		SELECT user_id, user_id + 1, $2 FROM unnest($1::integer[]) AS user_id`, users[:len(users)-1], stateFriends)
}

var benchContent = strings.Repeat("hello ", 10)

// benchMessages are messages between neighbours, all over the users.
func benchMessages(users []int, which int) []socialapi.Message {
	return benchMessagesOf(users, which, benchBatch)
}

func benchMessagesOf(users []int, which, count int) []socialapi.Message {
	out := make([]socialapi.Message, count)
	for i := range out {
		at := (which*count + i) * 7919 % (len(users) - 1)
		out[i] = message(users[at], users[at+1], benchContent)
	}
	return out
}

func benchNonces(users []int, which int) []socialapi.Message {
	out := benchMessages(users, which)
	for i := range out {
		out[i].Nonce = fmt.Sprintf("%032x", sha256.Sum256(fmt.Append(nil, which, i)))[:32]
	}
	return out
}
