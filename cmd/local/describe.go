package main

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"text/tabwriter"

	"pymessage/internal/local"
)

// describe says what runs where.
func describe(w io.Writer, d *local.Deployment, s *settings) {
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "WHAT\tWHERE\tMETRICS\tLOG")
	fmt.Fprintf(table, "postgres\t%s\t\t%s\n", withoutPassword(d.PostgresURL()), postgresLog(d))
	fmt.Fprintf(table, "redis\t%s\t\t%s\n", withoutPassword(d.RedisURL()), redisLog(d))
	for _, service := range d.Services() {
		fmt.Fprintf(table, "%s\t%s\t%s/metrics\t%s\n", service.Name, service.PublicURL, service.OpsURL, service.LogFile)
	}
	_ = table.Flush() // to a terminal: nobody is left to be told
	fmt.Fprintf(w, "ready: open %s (Ctrl-C stops it; the data is kept in %s)\n", d.URL(), d.DataDir())
	if host, _, _ := net.SplitHostPort(s.ListenAddr); host == "" {
		fmt.Fprintln(w, "others on your network can open it too; LISTEN_ADDR=127.0.0.1:6969 keeps it to this machine")
	}
}

func withoutPassword(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "(given)"
	}
	return u.Scheme + "://" + u.Host
}

func postgresLog(d *local.Deployment) string {
	if d.Postgres() == nil {
		return "(given)"
	}
	return d.Postgres().LogFile()
}

func redisLog(d *local.Deployment) string {
	switch {
	case d.Redis() == nil:
		return "(given)"
	case d.Redis().Embedded():
		return "(inside this process)"
	}
	return d.Redis().LogFile()
}
