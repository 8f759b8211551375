package accounts

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// rememberedPins bounds the pins that are remembered, at some 150 bytes each.
const rememberedPins = 1 << 17

// remembered are pins that were right a short while ago, so that whoever logs in
// again soon, with thousands of others after a gateway died, is let in without
// another slow hash. A pin is remembered as a MAC of itself and the stored hash, under
// a key that is made at the start and never leaves the process: it is of no use to
// who reads the database, and none either once the pin has changed. Who can read the
// memory of this process could guess pins from it quickly, but sees the pins
// themselves as they come in. A right pin that is remembered is answered faster than
// others, which tells that the user has logged in a short while ago.
type remembered struct {
	lifetime time.Duration
	key      []byte
	pins     *lru.Cache[[sha256.Size]byte, time.Time] // until when
}

// newRemembered remembers pins for a lifetime; with 0, not at all.
func newRemembered(lifetime time.Duration) *remembered {
	pins, err := lru.New[[sha256.Size]byte, time.Time](rememberedPins)
	if err != nil {
		panic(err) // the size above is positive
	}
	r := &remembered{lifetime: lifetime, key: make([]byte, sha256.Size), pins: pins}
	rand.Read(r.key)
	return r
}

func (r *remembered) mac(pin, stored string) (sum [sha256.Size]byte) {
	mac := hmac.New(sha256.New, r.key)
	mac.Write([]byte(stored))
	mac.Write([]byte{0}) // is in no stored hash
	mac.Write([]byte(pin))
	mac.Sum(sum[:0])
	return sum
}

// has says whether pin was right for stored a short while ago.
func (r *remembered) has(pin, stored string, now time.Time) bool {
	until, ok := r.pins.Get(r.mac(pin, stored))
	return ok && now.Before(until)
}

// add notes that pin is right for stored.
func (r *remembered) add(pin, stored string, now time.Time) {
	if r.lifetime > 0 {
		r.pins.Add(r.mac(pin, stored), now.Add(r.lifetime))
	}
}
