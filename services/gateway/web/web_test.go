package web_test

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"pymessage/services/gateway/web"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// ask sends one request to a new handler.
func ask(t *testing.T, method, target string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	web.Handler().ServeHTTP(w, r)
	return w
}

func TestPageAndAssetsAreServedWithTheirTypes(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		"/":                   "text/html; charset=utf-8",
		"/?from=somewhere":    "text/html; charset=utf-8",
		"/assets/app.js":      "text/javascript; charset=utf-8",
		"/assets/style.css":   "text/css; charset=utf-8",
		"/assets/favicon.svg": "image/svg+xml",
	} {
		got := ask(t, http.MethodGet, target)
		if got.Code != http.StatusOK || got.Body.Len() == 0 {
			t.Errorf("GET %s: status %d with %d bytes", target, got.Code, got.Body.Len())
		}
		if kind := got.Header().Get("Content-Type"); kind != want {
			t.Errorf("GET %s: content type %q, want %q", target, kind, want)
		}
	}
}

func TestHeadHasTheHeadersOfGetAndNoBody(t *testing.T) {
	t.Parallel()
	get, head := ask(t, http.MethodGet, "/"), ask(t, http.MethodHead, "/")
	if head.Code != http.StatusOK || head.Body.Len() != 0 {
		t.Errorf("HEAD /: status %d with %d bytes", head.Code, head.Body.Len())
	}
	for _, name := range []string{"Content-Type", "Content-Length", "ETag", "Content-Security-Policy"} {
		if got, want := head.Header().Get(name), get.Header().Get(name); got != want || want == "" {
			t.Errorf("HEAD /: %s is %q, GET has %q", name, got, want)
		}
	}
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	t.Parallel()
	for _, target := range []string{
		"/index.html", "/assets", "/assets/", "/assets/index.html", "/assets/none.js",
		"/static/app.js", "/assets/../web.go", "/get_user",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if got := ask(t, method, target).Code; got != http.StatusNotFound {
				t.Errorf("%s %s: status %d", method, target, got)
			}
		}
	}
}

func TestOnlyGetAndHeadAreAllowed(t *testing.T) {
	t.Parallel()
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		got := ask(t, method, "/")
		if got.Code != http.StatusMethodNotAllowed || got.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s /: status %d, Allow %q", method, got.Code, got.Header().Get("Allow"))
		}
	}
}

func TestAssetThatDidNotChangeIsNotSentAgain(t *testing.T) {
	t.Parallel()
	first := ask(t, http.MethodGet, "/assets/app.js")
	if got := first.Header().Get("Cache-Control"); got != "no-cache" {
		t.Errorf("Cache-Control is %q", got)
	}
	again := ask(t, http.MethodGet, "/assets/app.js", "If-None-Match", first.Header().Get("ETag"))
	if again.Code != http.StatusNotModified || again.Body.Len() != 0 {
		t.Errorf("with the ETag: status %d with %d bytes", again.Code, again.Body.Len())
	}
	other := ask(t, http.MethodGet, "/assets/app.js", "If-None-Match", `"older"`)
	if other.Code != http.StatusOK {
		t.Errorf("with another ETag: status %d", other.Code)
	}
}

func TestPageIsHeldToItsOwnOrigin(t *testing.T) {
	t.Parallel()
	header := ask(t, http.MethodGet, "http://chat.example:6969/").Header()
	policy := header.Get("Content-Security-Policy")
	for _, want := range []string{
		"default-src 'none'", "script-src 'self';", "style-src 'self';", "form-action 'none'", "frame-ancestors 'none'",
		"connect-src 'self' ws://chat.example:6969 wss://chat.example:6969;", "require-trusted-types-for 'script'",
	} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy lacks %q: %s", want, policy)
		}
	}
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} {
		if got := header.Get(name); got != want {
			t.Errorf("%s is %q", name, got)
		}
	}
}

func TestHostHeaderCannotWidenThePolicy(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"localhost:6969":               "connect-src 'self' ws://localhost:6969 wss://localhost:6969;",
		"[::1]:6969":                   "connect-src 'self' ws://[::1]:6969 wss://[::1]:6969;",
		"a; script-src *":              "connect-src 'self';",
		"a, default-src *":             "connect-src 'self';",
		"*":                            "connect-src 'self';",
		"*.example":                    "connect-src 'self';",
		"good.example evil.example":    "connect-src 'self';",
		"good.example/evil":            "connect-src 'self';",
		"":                             "connect-src 'self';",
		"good.example:80\r\nX-Evil: 1": "connect-src 'self';",
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		web.Handler().ServeHTTP(w, r)
		if policy := w.Header().Get("Content-Security-Policy"); !strings.Contains(policy, want) {
			t.Errorf("host %q: no %q in %s", host, want, policy)
		}
	}
}

var (
	linked   = regexp.MustCompile(`(?:src|href)="([^"#]+)"`)
	imported = regexp.MustCompile(`from "\./([^"]+)"`)
)

func TestWhatThePageRefersToIsServed(t *testing.T) {
	t.Parallel()
	targets := map[string]bool{}
	for _, found := range linked.FindAllStringSubmatch(ask(t, http.MethodGet, "/").Body.String(), -1) {
		targets[found[1]] = true
	}
	for _, source := range sources(t) {
		for _, found := range imported.FindAllStringSubmatch(source, -1) {
			// An import that the page does not preload costs a round trip.
			if !targets["/assets/"+found[1]] {
				t.Errorf("%s is imported and not preloaded", found[1])
			}
		}
	}
	for target := range targets {
		if got := ask(t, http.MethodGet, target).Code; got != http.StatusOK {
			t.Errorf("GET %s: status %d", target, got)
		}
	}
}

// forbidden are the ways by which data could become markup or code, and by
// which the policy would be broken.
var forbidden = regexp.MustCompile(
	`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|` +
		`<script>|\sstyle="|\son[a-z]+="|https?://`)

func TestNoFileTurnsDataIntoMarkupOrLeavesTheOrigin(t *testing.T) {
	t.Parallel()
	for name, source := range sources(t) {
		if found := forbidden.FindString(source); found != "" {
			t.Errorf("%s has %q", name, found)
		}
	}
}

// sources returns the text files of the page by name, pictures left out.
func sources(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	files := os.DirFS("static")
	names, err := fs.Glob(files, "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if path.Ext(name) == ".svg" {
			continue
		}
		body, err := fs.ReadFile(files, name)
		if err != nil {
			t.Fatal(err)
		}
		found[name] = string(body)
	}
	return found
}
