package accounts

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
)

// The shape of a hash. One lane each, since the hashes of several logins use the
// processors already. The pattern of stored hashes follows from it.
const (
	lanes    = 1
	saltSize = 16
	hashSize = 32
)

// Bounds of the parameters, in KiB and passes. A damaged row must not take
// gigabytes or minutes.
const (
	minPinMemory = 8 // the least that argon2 works with
	maxPinMemory = 256 << 10
	maxPinTime   = 16
)

// params are the costs of a hash. They are kept with each hash, so that they can
// be raised without touching the old ones.
type params struct {
	memory uint32 // KiB
	time   uint32 // passes
}

// phc is a hash as it is stored, in the PHC string format.
type phc struct {
	params
	salt, hash []byte
}

// errDamaged says nothing of the string, which is a secret.
var errDamaged = errors.New("stored pin hash is damaged")

// String is the stored form.
func (p phc) String() string {
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", p.memory, p.time, lanes,
		base64.RawStdEncoding.EncodeToString(p.salt), base64.RawStdEncoding.EncodeToString(p.hash))
}

var phcPattern = regexp.MustCompile(
	`^\$argon2id\$v=19\$m=(\d{1,6}),t=(\d{1,2}),p=1\$([A-Za-z0-9+/]{22})\$([A-Za-z0-9+/]{43})$`)

// parsePHC reads what String wrote, and nothing else: what would be written
// otherwise (leading zeros, stray bits in the last digit) is damaged.
func parsePHC(s string) (phc, error) {
	parts := phcPattern.FindStringSubmatch(s)
	if parts == nil {
		return phc{}, errDamaged
	}
	memory, _ := strconv.Atoi(parts[1]) // the pattern lets only digits through
	passes, _ := strconv.Atoi(parts[2])
	p := phc{params: params{memory: uint32(memory), time: uint32(passes)}}
	p.salt, _ = base64.RawStdEncoding.DecodeString(parts[3])
	p.hash, _ = base64.RawStdEncoding.DecodeString(parts[4])
	if memory < minPinMemory || memory > maxPinMemory || passes < 1 || passes > maxPinTime || p.String() != s {
		return phc{}, errDamaged
	}
	return p, nil
}
