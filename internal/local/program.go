package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"

	"pymessage/internal/stores/child"
)

// tailBytes is how much of a log is read to learn why a program died.
const tailBytes = 8192

// program runs a service's binary, with its output in a log file.
type program struct {
	// static
	path string
	args []string
	env  []string
	log  string // a file, appended to

	mu   sync.Mutex
	proc *child.Process // the running process, or the last one; nil before the first
}

func (p *program) launch(context.Context) error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own copy
	cmd := exec.Command(p.path, p.args...)
	cmd.Env = p.env
	cmd.Stdout, cmd.Stderr = log, log
	proc, err := child.Start(cmd, syscall.SIGKILL)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("there is no program %s: build it with `make build`", p.path)
	}
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proc = proc
	return nil
}

// process is the one launched last; nil if there was none.
func (p *program) process() *child.Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.proc
}

func (p *program) done() <-chan struct{} { return p.process().Done() }

func (p *program) stop(ctx context.Context) error { return p.process().Stop(ctx, syscall.SIGTERM) }

func (p *program) kill(context.Context) error {
	p.process().Kill()
	return nil
}

// finish runs the program to its end, for those that do one thing.
func (p *program) finish(ctx context.Context) error {
	if err := p.launch(ctx); err != nil {
		return err
	}
	select {
	case <-p.done():
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx), p.kill(ctx))
	}
	if p.process().Err() != nil {
		return errors.New(p.epitaph())
	}
	return nil
}

// epitaph tells how the process ended, its last words, and where to read more.
func (p *program) epitaph() string {
	how := "exit status 0"
	if err := p.process().Err(); err != nil {
		how = err.Error()
	}
	if words := lastWords(logTail(p.log)); words != "" {
		how += ", " + words
	}
	return how + "; its log is " + p.log
}

func logTail(path string) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil
	}
	from := max(0, end-tailBytes)
	tail, err := io.ReadAll(io.NewSectionReader(f, from, end-from))
	if err != nil {
		return nil
	}
	return tail
}

// lastWords is the last complaint in a log: an error record, or what was written
// outside the log after it, such as a panic or a list of wrong settings.
func lastWords(log []byte) string {
	var words []string
	for line := range bytes.Lines(log) {
		text := strings.TrimSpace(string(line))
		if complaint, isRecord := complaint(text); isRecord {
			words = complaint
		} else if text != "" && len(words) < maxWords {
			words = append(words, text)
		}
	}
	return strings.Join(words, " ")
}

// maxWords bounds the lines outside the log: of a panic the first tell what it is.
const maxWords = 6

// complaint reads a log record: its words if it is an error, none if it is not.
func complaint(line string) (words []string, isRecord bool) {
	var record struct{ Level, Msg, Err string }
	if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &record) != nil {
		return nil, false
	}
	if record.Level != "ERROR" {
		return nil, true
	}
	if record.Err != "" {
		return []string{record.Msg + ": " + record.Err}, true
	}
	return []string{record.Msg}, true
}
