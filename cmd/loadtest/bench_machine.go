package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"pymessage/internal/stores"
)

// describeMachine tells on what was measured, in one line.
func describeMachine(ctx context.Context) (string, error) {
	postgres, err := stores.FindPostgres()
	if err != nil {
		return "", err
	}
	redis, err := stores.FindRedis()
	if err != nil {
		return "", err
	}
	parts := []string{fmt.Sprint(runtime.NumCPU(), " cores")}
	if model := lineOf("/proc/cpuinfo", `(?m)^model name\s*:\s*(.+)$`); model != "" {
		parts[0] += " (" + model + ")"
	}
	if kib, err := strconv.ParseFloat(lineOf("/proc/meminfo", `(?m)^MemTotal:\s*(\d+) kB$`), 64); err == nil {
		parts = append(parts, fmt.Sprintf("%.1f GiB of memory", kib/(1<<20)))
	}
	parts = append(parts, "Linux "+lineOf("/proc/sys/kernel/osrelease", `^([\d.]+)`), "Go "+strings.TrimPrefix(runtime.Version(), "go"))
	for _, store := range []struct{ name, program string }{{"Postgres", filepath.Join(postgres, "postgres")}, {"Redis", redis}} {
		out, err := exec.CommandContext(ctx, store.program, "--version").Output()
		if err != nil {
			return "", fmt.Errorf("version of %s: %w", store.name, err)
		}
		parts = append(parts, store.name+" "+regexp.MustCompile(`\d+\.[\d.]+`).FindString(string(out)))
	}
	return strings.Join(parts, ", "), nil
}

// lineOf finds a pattern in a file; what cannot be read is left out.
func lineOf(file, pattern string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	if m := regexp.MustCompile(pattern).FindSubmatch(text); m != nil {
		return strings.TrimSpace(string(m[1]))
	}
	return ""
}
