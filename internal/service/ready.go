package service

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// readyTimeout bounds the question: a process that does not answer is not ready.
const readyTimeout = 2 * time.Second

// readySettings are all that `SERVICE ready` reads.
type readySettings struct {
	OpsAddr string `env:"OPS_ADDR" envDefault:":9090"`
}

// ready asks the process that runs with the same settings whether it is ready: the
// health check of an image without a shell.
func (prog Program) ready(ctx context.Context, environ []string, stdout, stderr io.Writer) int {
	var settings readySettings
	if err := ParseSettings(&settings, environ); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", prog.Name, err)
		return 2
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	answer, err := askReady(ctx, settings.OpsAddr)
	if err != nil {
		fmt.Fprintf(stderr, "%s: not ready: %v\n", prog.Name, err)
		return 1
	}
	fmt.Fprintln(stdout, answer)
	return 0
}

// askReady is the answer of the ops port at addr, and an error unless it is that
// the process is ready.
func askReady(ctx context.Context, addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("OPS_ADDR: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return "", err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxHeaderBytes))
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s", strings.TrimSpace(string(text)))
	}
	return strings.TrimSpace(string(text)), nil
}
