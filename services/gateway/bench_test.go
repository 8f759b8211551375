package gateway

import (
	"fmt"
	"strings"
	"testing"

	"pymessage/internal/bell"
)

// benchWindow is how many messages are under way at a time: a queue that is full would
// be measured instead.
const benchWindow = 64

var benchContent = strings.Repeat("hello ", 10)

// inWindows does something b.N times, and has it waited for after each window.
func inWindows(b *testing.B, window int, do func(), await func(count int)) {
	b.ReportAllocs()
	b.ResetTimer()
	for left := b.N; left > 0; left -= window {
		count := min(left, window)
		for range count {
			do()
		}
		await(count)
	}
}

// BenchmarkDeliver hands rings to the sockets of a user, who reads them.
func BenchmarkDeliver(b *testing.B) {
	for _, sockets := range []int{1, 10} {
		b.Run(fmt.Sprintf("sockets=%d", sockets), func(b *testing.B) {
			g := setup(b)
			var bobs []*client
			for range sockets {
				bobs = append(bobs, g.enter(b, "bob"))
			}
			bob := bobs[0].id
			inWindows(b, benchWindow, func() {
				event := g.append(bob, 10000009, benchContent)
				g.hub.Deliver(bob, bell.Envelope{Epoch: "epoch", Events: []bell.Event{event}})
			}, func(count int) {
				for _, bob := range bobs {
					for range count {
						bob.read()
					}
				}
			})
		})
	}
}

// BenchmarkSend sends messages from a socket: it is read, waits for its lane, is
// stored by a neighbour that only remembers, rung for, and answered.
func BenchmarkSend(b *testing.B) {
	for _, window := range []int{1, benchWindow} {
		b.Run(fmt.Sprintf("window=%d", window), func(b *testing.B) {
			g := setup(b, func(c *Config) { c.RequestBurst = 1e9 })
			alice, bob := g.enter(b, "alice"), g.enter(b, "bob")
			inWindows(b, window, func() { alice.message(bob.id, benchContent) }, func(count int) {
				for range count {
					alice.expect(sent)
				}
				for range count {
					bob.read()
				}
			})
		})
	}
}
