package accounts

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
)

func TestATokenIs256BitsThatNoOtherHas(t *testing.T) {
	t.Parallel()

	seen := map[string]bool{}
	for range 100 {
		tok := newToken()
		secret, err := base64.RawURLEncoding.DecodeString(tok.text)
		if err != nil || len(secret) != 32 || sha256.Sum256(secret) != tok.hash {
			t.Fatalf("token %q, %v", tok.text, err)
		}
		if hash, ok := hashToken(tok.text); !ok || hash != tok.hash {
			t.Fatalf("%q does not come back: %v", tok.text, ok)
		}
		seen[tok.text] = true
	}
	if len(seen) != 100 {
		t.Errorf("only %d of 100 differ", len(seen))
	}
}

// malformed are texts that no token is written as.
var malformed = map[string]string{
	"empty":                "",
	"short":                strings.Repeat("A", 42),
	"long":                 strings.Repeat("A", 44),
	"very long":            strings.Repeat("A", 1<<20),
	"a session's name":     "0b0b5cbe-3ecf-4e44-a9a4-2f4d3a2f8c6e",
	"padded":               strings.Repeat("A", 42) + "=",
	"the other base64":     strings.Repeat("A", 42) + "+",
	"another way to write": strings.Repeat("A", 42) + "B",
	"a line break":         strings.Repeat("A", 42) + "\n",
	"NUL":                  strings.Repeat("A", 42) + "\x00",
	"not ASCII":            strings.Repeat("A", 41) + "é",
}

func TestWhatIsNotWrittenAsATokenIsNone(t *testing.T) {
	t.Parallel()

	for why, text := range malformed {
		if _, ok := hashToken(text); ok {
			t.Errorf("%s is taken for a token", why)
		}
	}
}
