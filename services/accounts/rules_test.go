package accounts

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"

	"pymessage/internal/fault"
)

func TestUsernamesKeepTheRulesOfRFC8265(t *testing.T) {
	t.Parallel()

	for _, c := range []struct{ raw, shown, key string }{
		{"bob", "bob", "bob"},
		{"Bob", "Bob", "bob"},
		{"bob.b-o_b@home", "bob.b-o_b@home", "bob.b-o_b@home"},
		{"\uff22ob", "Bob", "bob"},            // full width
		{"Zoe\u0301", "Zo\u00e9", "zo\u00e9"}, // two code points for one letter
		{"ΑΛΙΚΗ", "ΑΛΙΚΗ", "αλικη"},
		{"李小龍", "李小龍", "李小龍"},
		{"שלום", "שלום", "שלום"}, // right to left
		{strings.Repeat("n", 32), strings.Repeat("n", 32), strings.Repeat("n", 32)},
		{strings.Repeat("e\u0301", 32), strings.Repeat("\u00e9", 32), strings.Repeat("\u00e9", 32)},
	} {
		u, err := checkUsername(c.raw)
		if err != nil || u.shown != c.shown || u.key != c.key {
			t.Errorf("%q: got %+q, %+q, %v", c.raw, u.shown, u.key, err)
		}
	}
}

func TestOtherUsernamesAreInvalid(t *testing.T) {
	t.Parallel()

	for why, raw := range map[string]string{
		"empty":                "",
		"short":                "bo",
		"short in code points": "éé",
		"long":                 strings.Repeat("n", 33),
		"very long":            strings.Repeat("n", 1<<20),
		"a space":              "bob b",
		"a line break":         "bob\n",
		"NUL":                  "bob\x00",
		"an emoji":             "bob🙂",
		"invalid UTF-8":        "bob\xff",
		"broken UTF-8":         "bob\ufffd",
		"invisible":            "bob\u200b",
		"both directions":      "bobשלום",
		"an old ligature":      "\ufb01sh",
		"a zero-width joiner":  "bo\u200db",
	} {
		if _, err := checkUsername(raw); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", why, err)
		}
	}
}

func TestPinsAreFourTo128CodePointsOfText(t *testing.T) {
	t.Parallel()

	for _, pin := range []string{"1234", "0042", "    ", "äöüß", "🔑🔑🔑🔑", "tab\tand\nline", strings.Repeat("界", 128)} {
		if err := checkPin(pin); err != nil {
			t.Errorf("%q: %v", pin, err)
		}
	}
	for why, pin := range map[string]string{
		"empty":          "",
		"short":          "123",
		"short in runes": "äöü",
		"long":           strings.Repeat("1", 129),
		"NUL":            "12\x0034",
		"invalid UTF-8":  "1234\xff",
		"broken UTF-8":   "1234\ufffd",
	} {
		if err := checkPin(pin); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", why, err)
		}
	}
}

// FuzzUsername looks for a name that is not the same name when it is given again
// as it was shown: nobody could log in with it by what others see.
func FuzzUsername(f *testing.F) {
	for _, s := range []string{"bob", "Zoe\u0301", "ΣΑΣ", "\uff22ob", "İstanbul", "ǅungla", "שלום", "\u1e9eab", "bo\u00b7b", "l\u00b7l", strings.Repeat("İ", 32)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := checkUsername(raw)
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Fatalf("%q: %v", raw, err)
			}
			return
		}
		if n := utf8.RuneCountInString(u.shown); n < minUsername || n > maxUsername || !utf8.ValidString(u.shown) {
			t.Fatalf("%q became %q", raw, u.shown)
		}
		if again, err := checkUsername(u.shown); err != nil || again != u {
			t.Fatalf("%q is %+q and then %+q, %v", raw, u, again, err)
		}
		if key, err := precis.UsernameCaseMapped.CompareKey(u.key); err != nil || key != u.key {
			t.Fatalf("%q has the key %+q, which has the key %+q, %v", raw, u.key, key, err)
		}
	})
}
