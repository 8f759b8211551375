// Package openapi holds services to their OpenAPI documents: in tests, a client
// checks every request and answer that goes through it.
package openapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/go-chi/chi/v5"
)

// Document is what a service says of itself.
type Document struct {
	doc    *openapi3.T
	router routers.Router

	mu   sync.Mutex // guards all below
	seen map[string]bool
}

// Load reads a document, which has to be one of OpenAPI 3.1.
func Load(t testing.TB, text []byte) *Document {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1.") {
		t.Errorf("it is of OpenAPI %s", doc.OpenAPI)
	}
	if err := doc.Validate(context.Background()); err != nil {
		t.Fatal(err)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return &Document{doc: doc, router: router, seen: map[string]bool{}}
}

// Unseen are the answers that the document tells of and no client of it has seen, as
// "METHOD PATH STATUS", but for the statuses in except.
func (d *Document) Unseen(except ...string) (unseen []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for path, item := range d.doc.Paths.Map() {
		for method, operation := range item.Operations() {
			for status := range operation.Responses.Map() {
				answer := method + " " + path + " " + status
				if !d.seen[answer] && !slices.Contains(except, status) {
					unseen = append(unseen, answer)
				}
			}
		}
	}
	slices.Sort(unseen)
	return unseen
}

// CheckRoutes checks that the document tells of every route of h, and of no other; that
// it tells for each of what may befall any; and that h says which methods a path has.
func (d *Document) CheckRoutes(t testing.TB, h http.Handler) {
	t.Helper()
	var served, told []string
	err := chi.Walk(h.(chi.Routes), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		served = append(served, method+" "+route)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, item := range d.doc.Paths.Map() {
		for method := range item.Operations() {
			told = append(told, method+" "+path)
		}
	}
	for _, route := range served {
		if !slices.Contains(told, route) {
			t.Errorf("%s is served and not told of", route)
		}
	}
	for _, route := range told {
		if !slices.Contains(served, route) {
			t.Errorf("%s is told of and not served", route)
		}
	}
	d.checkStatuses(t)
	checkMethods(t, h, served)
}

// checkStatuses checks that each operation tells of an outage, and each for which one
// needs a token of one that is wrong and of too many of these. A document that is its
// own answer can have none of this.
func (d *Document) checkStatuses(t testing.TB) {
	t.Helper()
	for path, item := range d.doc.Paths.Map() {
		for method, operation := range item.Operations() {
			want := []int{http.StatusUnauthorized, http.StatusTooManyRequests, http.StatusServiceUnavailable}
			if operation.Security != nil && len(*operation.Security) == 0 {
				want = want[2:]
			}
			if strings.HasSuffix(path, "/openapi.json") {
				want = nil
			}
			for _, status := range want {
				if operation.Responses.Status(status) == nil {
					t.Errorf("%s %s: no word of %d", method, path, status)
				}
			}
		}
	}
}

var pathParameter = regexp.MustCompile(`\{[^}]*\}`)

// checkMethods asks each path with the methods that it does not have.
func checkMethods(t testing.TB, h http.Handler, served []string) {
	t.Helper()
	allowed := map[string][]string{}
	for _, route := range served {
		method, path, _ := strings.Cut(route, " ")
		allowed[path] = append(allowed[path], method)
	}
	for path, has := range allowed {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
			if slices.Contains(has, method) {
				continue
			}
			got := httptest.NewRecorder()
			h.ServeHTTP(got, httptest.NewRequest(method, pathParameter.ReplaceAllString(path, "any"), nil))
			told := strings.Split(got.Header().Get("Allow"), ", ")
			if slices.Sort(told); got.Code != http.StatusMethodNotAllowed || !slices.Equal(told, slices.Sorted(slices.Values(has))) {
				t.Errorf("%s %s: %d, Allow %v, want %v", method, path, got.Code, told, has)
			}
		}
	}
}

// Client makes an HTTP client for t that checks what goes through it: a request that
// is not as the document has it must not succeed, every answer must be one that the
// document tells of.
func (d *Document) Client(t testing.TB) *http.Client {
	transport := &http.Transport{DisableKeepAlives: true} // so that no connection outlives the test
	return &http.Client{Transport: &checker{d, t, transport}}
}

type checker struct {
	*Document
	t    testing.TB
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (c *checker) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	resp, err := c.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(answer))
	c.check(req, body, resp, answer)
	return resp, nil
}

func (c *checker) check(req *http.Request, body []byte, resp *http.Response, answer []byte) {
	route, params, err := c.router.FindRoute(req)
	if err != nil {
		if resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusMethodNotAllowed {
			c.t.Errorf("%s %s: %d, of which the document tells nothing: %v", req.Method, req.URL.Path, resp.StatusCode, err)
		}
		return
	}
	where := route.Method + " " + route.Path
	c.mu.Lock()
	c.seen[where+" "+strconv.Itoa(resp.StatusCode)] = true
	c.mu.Unlock()
	copied := req.Clone(context.Background())
	copied.Body = io.NopCloser(bytes.NewReader(body))
	input := &openapi3filter.RequestValidationInput{
		Request: copied, PathParams: params, Route: route,
		Options: &openapi3filter.Options{
			AuthenticationFunc: hasBearer, IncludeResponseStatus: true, SkipSettingDefaults: true,
			RejectWhenRequestBodyNotSpecified: true,
		},
	}
	if err := openapi3filter.ValidateRequest(context.Background(), input); err != nil && resp.StatusCode < 400 {
		c.t.Errorf("%s: a request that the document forbids got %d: %v", where, resp.StatusCode, err)
	}
	if route.Operation.Responses.Status(resp.StatusCode) == nil && resp.StatusCode < 500 {
		c.t.Errorf("%s: the document has no answer %s", where, strconv.Itoa(resp.StatusCode))
	}
	err = openapi3filter.ValidateResponse(context.Background(), (&openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: resp.StatusCode, Header: resp.Header, Options: input.Options,
	}).SetBodyBytes(answer))
	if err != nil {
		c.t.Errorf("%s: an answer that the document does not have: %v", where, err)
	}
}

func hasBearer(_ context.Context, in *openapi3filter.AuthenticationInput) error {
	header := in.RequestValidationInput.Request.Header.Get("Authorization")
	if !strings.HasPrefix(strings.ToLower(header), "bearer ") {
		return in.NewError(errors.New("there is no bearer token"))
	}
	return nil
}
