package testenv

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// logPatience is how long a test waits for what should be logged at once.
const logPatience = 30 * time.Second

// LogBook keeps what is logged, and tells when something was.
type LogBook struct {
	mu      sync.Mutex // guards all below
	text    bytes.Buffer
	changed chan struct{} // closed at the next line
}

// NewLogBook makes a book and a logger that writes everything into it, as JSON.
func NewLogBook() (*LogBook, *slog.Logger) {
	b := &LogBook{changed: make(chan struct{})}
	return b, slog.New(slog.NewJSONHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Write implements io.Writer.
func (b *LogBook) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.changed)
	b.changed = make(chan struct{})
	return b.text.Write(line)
}

func (b *LogBook) read() (string, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String(), b.changed
}

// String is all that was logged.
func (b *LogBook) String() string {
	text, _ := b.read()
	return text
}

// Await returns once text was logged.
func (b *LogBook) Await(t testing.TB, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), logPatience)
	defer cancel()
	for {
		all, changed := b.read()
		if strings.Contains(all, text) {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("%q was never logged, but this:\n%s", text, all)
		}
	}
}
