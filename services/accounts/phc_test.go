package accounts

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// somePHC is a hash in every respect but for what was hashed.
var somePHC = phc{
	params: params{memory: 19456, time: 2},
	salt:   bytes.Repeat([]byte{1}, saltSize),
	hash:   bytes.Repeat([]byte{2}, hashSize),
}

func TestAHashIsStoredInPHCFormat(t *testing.T) {
	t.Parallel()

	const want = "$argon2id$v=19$m=19456,t=2,p=1$AQEBAQEBAQEBAQEBAQEBAQ$AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI"
	if got := somePHC.String(); got != want {
		t.Fatalf("got %s", got)
	}
	back, err := parsePHC(want)
	if err != nil || back.params != somePHC.params || !bytes.Equal(back.salt, somePHC.salt) || !bytes.Equal(back.hash, somePHC.hash) {
		t.Fatalf("came back as %+v, %v", back, err)
	}
}

func TestADamagedHashIsRefused(t *testing.T) {
	t.Parallel()

	whole := somePHC.String()
	for why, change := range map[string][2]string{
		"another algorithm":     {"argon2id", "argon2i"},
		"another version":       {"v=19", "v=16"},
		"no version":            {"$v=19", ""},
		"too much memory":       {"m=19456", "m=999999"},
		"memory of many digits": {"m=19456", "m=99999999999999999999"},
		"too little memory":     {"m=19456", "m=7"},
		"no passes":             {"t=2", "t=0"},
		"too many passes":       {"t=2", "t=17"},
		"a zero in front":       {"t=2", "t=02"},
		"a sign":                {"t=2", "t=+2"},
		"more lanes":            {"p=1", "p=4"},
		"another order":         {"m=19456,t=2", "t=2,m=19456"},
		"a short salt":          {"$AQEB", "$AQE"},
		"padding":               {"AgICAgI", "AgICAg="},
		"stray last bits":       {"AQ$", "AR$"},
		"a line break":          {"AQ$", "A\n$"},
		"no hash":               {whole[len(whole)-44:], ""},
	} {
		damaged := strings.Replace(whole, change[0], change[1], 1)
		if damaged == whole {
			t.Fatalf("%s: nothing changed", why)
		}
		if _, err := parsePHC(damaged); !errors.Is(err, errDamaged) {
			t.Errorf("%s: %v", why, err)
		}
	}
	for _, s := range []string{"", "$", whole + "\n", whole + "A", " " + whole, whole + "$" + whole} {
		if _, err := parsePHC(s); !errors.Is(err, errDamaged) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// FuzzParsePHC looks for a string that is read as something other than what it
// says, or that costs more than we allow.
func FuzzParsePHC(f *testing.F) {
	f.Add(somePHC.String())
	f.Add("$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$argon2id$v=19$m=99999999,t=1,p=1$$")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePHC(s)
		if err != nil {
			return
		}
		if p.String() != s {
			t.Fatalf("%q is read as %q", s, p)
		}
		if p.memory < minPinMemory || p.memory > maxPinMemory || p.time < 1 || p.time > maxPinTime ||
			len(p.salt) != saltSize || len(p.hash) != hashSize {
			t.Fatalf("%q is out of bounds", s)
		}
	})
}
