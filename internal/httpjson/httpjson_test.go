package httpjson_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pymessage/internal/fault"
	"pymessage/internal/httpjson"
)

const secret = "a secret of the tests"

type ask struct {
	Name string `json:"name"`
}

type answer struct {
	Greeting string `json:"greeting"`
}

func serve(t *testing.T, f func(r *http.Request, in ask) (answer, error)) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/greet", httpjson.RequireSecret(secret)(httpjson.Endpoint(slog.New(slog.DiscardHandler), f)))
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestAnAnswerAndEveryKindOfFaultCrossTheWire(t *testing.T) {
	t.Parallel()

	url := serve(t, func(_ *http.Request, in ask) (answer, error) {
		switch in.Name {
		case "nobody":
			return answer{}, fault.New(fault.NotFound, "no such person")
		case "bug":
			return answer{}, errors.New("index out of range")
		}
		return answer{"hello " + in.Name}, nil
	})
	c := httpjson.NewClient(url, secret)
	defer c.Close()

	var out answer
	if err := c.Post(context.Background(), "/greet", ask{"<bob>"}, &out); err != nil || out.Greeting != "hello <bob>" {
		t.Fatalf("got %q, %v", out.Greeting, err)
	}
	err := c.Post(context.Background(), "/greet", ask{"nobody"}, &out)
	if !errors.Is(err, fault.NotFound) || fault.Message(err) != "no such person" {
		t.Fatalf("got %v", err)
	}
	err = c.Post(context.Background(), "/greet", ask{"bug"}, &out)
	if !errors.Is(err, fault.Internal) || strings.Contains(err.Error(), "index") {
		t.Fatalf("a defect leaks or has the wrong kind: %v", err)
	}
}

func TestAWrongSecretIsRefused(t *testing.T) {
	t.Parallel()

	url := serve(t, func(*http.Request, ask) (answer, error) { return answer{}, nil })
	c := httpjson.NewClient(url, "guessed")
	defer c.Close()
	if err := c.Post(context.Background(), "/greet", ask{}, nil); !errors.Is(err, fault.Forbidden) {
		t.Fatalf("got %v", err)
	}
}

func TestAServiceThatIsGoneIsUnavailable(t *testing.T) {
	t.Parallel()

	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	c := httpjson.NewClient(srv.URL, secret)
	defer c.Close()
	if err := c.Post(context.Background(), "/greet", ask{}, nil); !errors.Is(err, fault.Unavailable) {
		t.Fatalf("broken off: got %v", err)
	}
	srv.Close()
	if err := c.Post(context.Background(), "/greet", ask{}, nil); !errors.Is(err, fault.Unavailable) {
		t.Fatalf("refused: got %v", err)
	}
}

func TestABodyThatIsNotJSONIsInvalid(t *testing.T) {
	t.Parallel()

	url := serve(t, func(*http.Request, ask) (answer, error) { return answer{}, nil })
	for _, body := range []string{"", "{", `{"name":1}`, `[]`} {
		req, _ := http.NewRequest(http.MethodPost, url+"/greet", strings.NewReader(body))
		req.Header.Set(httpjson.SecretHeader, secret)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("body %q: status %d", body, resp.StatusCode)
		}
	}
}
