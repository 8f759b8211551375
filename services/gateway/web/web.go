// Package web is the chat page: a client of protocol version 1 in plain
// JavaScript, embedded in the gateway's binary so that whoever can reach a
// gateway can chat without installing anything.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"time"
)

//go:embed static
var static embed.FS

const (
	pagePath    = "/"
	assetPrefix = "/assets/"
	pageFile    = "index.html"
)

// contentTypes is spelled out, since package mime asks the machine it runs on
// and a module script with another type than JavaScript's does not run.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
}

// asset is one file of the page, ready to be served.
type asset struct {
	body        []byte
	contentType string
	etag        string
}

// Handler serves the page at / and its files under /assets/, to GET and HEAD.
// Everything else is 404. Requests that upgrade to a WebSocket are not its
// business: the gateway takes them out before.
func Handler() http.Handler {
	assets := mustLoad(static)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		found, ok := assets[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		found.serve(w, r)
	})
}

// serve answers with the asset, or with 304 to a browser that has it.
func (a asset) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", a.contentType)
	h.Set("ETag", a.etag)
	// Asked again each time: the modules of a page must be of one version, and
	// a 304 costs little.
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Security-Policy", contentPolicy(r.Host))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.body))
}

// plainHost is what may be copied from a Host header into the policy: a host
// and perhaps a port, and no character that means something in a policy.
var plainHost = regexp.MustCompile(`^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$`)

// contentPolicy lets the page load and call its own origin and nothing else.
// The WebSocket's origin is named as well, since older browsers do not count
// ws: as 'self'. Trusted types turn a slip into innerHTML into an exception.
func contentPolicy(host string) string {
	sockets := ""
	if plainHost.MatchString(host) {
		sockets = fmt.Sprintf(" ws://%s wss://%s", host, host)
	}
	return "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
		"connect-src 'self'" + sockets + "; base-uri 'none'; form-action 'none'; " +
		"frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
}

// mustLoad reads all assets by the path they are served at. The files are part
// of the binary, so a fault is one of the build and no reason to limp on.
func mustLoad(files fs.FS) map[string]asset {
	names, err := fs.Glob(files, "static/*")
	if err != nil {
		panic(fmt.Sprintf("web: list the embedded files: %v", err))
	}
	assets := make(map[string]asset, len(names))
	for _, name := range names {
		assets[servedAt(path.Base(name))] = mustLoadOne(files, name)
	}
	return assets
}

func mustLoadOne(files fs.FS, name string) asset {
	body, err := fs.ReadFile(files, name)
	if err != nil {
		panic(fmt.Sprintf("web: read the embedded %s: %v", name, err))
	}
	contentType, ok := contentTypes[path.Ext(name)]
	if !ok {
		panic("web: no content type for " + name)
	}
	sum := sha256.Sum256(body)
	return asset{body: body, contentType: contentType, etag: `"` + hex.EncodeToString(sum[:12]) + `"`}
}

// servedAt is the path of a file: the page is the root, all else an asset.
func servedAt(base string) string {
	if base == pageFile {
		return pagePath
	}
	return assetPrefix + base
}
