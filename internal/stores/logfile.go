package stores

import (
	"io"
	"os"
	"strings"
)

const (
	// tailLines is how much of a server's log goes into an error: enough for the
	// cause and its hint.
	tailLines = 8

	// tailBytes is how far back in the log those lines are looked for.
	tailBytes = 4096
)

// logFile is what a server writes. It is kept over restarts; mark is where the
// running server's part begins.
type logFile struct {
	path string
	mark int64
}

// open opens the log for appending and marks its end.
func (l *logFile) open() (*os.File, error) {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, err
	}
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	l.mark = end
	return f, nil
}

// tail returns the last lines since the mark.
func (l *logFile) tail() string {
	f, err := os.Open(l.path)
	if err != nil {
		return ""
	}
	defer f.Close()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return ""
	}
	from := max(l.mark, end-tailBytes)
	text, err := io.ReadAll(io.NewSectionReader(f, from, end-from))
	if err != nil {
		return ""
	}
	return lastLines(string(text), tailLines)
}

// lastLines returns the last n lines of text, without the empty ones around them.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
