package service

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// ClientAddress is the address that a client is throttled by: the peer's, or, where
// the peer is a trusted proxy, the last one in X-Forwarded-For that is not.
func ClientAddress(r *http.Request, trusted []netip.Prefix) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	forwarded := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(forwarded) - 1; i >= 0 && isTrusted(host, trusted); i-- {
		if hop, err := netip.ParseAddr(strings.TrimSpace(forwarded[i])); err == nil {
			host = hop.Unmap().String()
		}
	}
	return host
}

func isTrusted(address string, trusted []netip.Prefix) bool {
	a, err := netip.ParseAddr(address)
	return err == nil && slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(a.Unmap()) })
}
