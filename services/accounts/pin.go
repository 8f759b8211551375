package accounts

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"runtime"
	"time"

	"golang.org/x/crypto/argon2"

	"pymessage/internal/fault"
)

// hasher makes and checks hashes of pins. Each costs much memory and processor
// time, so only a few are worked on at once, some wait, and the rest is refused:
// a flood of logins must not take the memory of the pod, nor its time for good.
type hasher struct {
	pepper []byte
	params params // of new hashes
	dummy  string // hash of a pin that nobody knows, see verify

	places  chan struct{} // one for each hash that runs or waits
	workers chan struct{} // one for each hash that runs
	metrics *metrics

	remembered *remembered
}

// newHasher makes a hasher with the settings of cfg.
func newHasher(cfg Config, m *metrics) (*hasher, error) {
	workers := cfg.Argon2Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	h := &hasher{
		pepper:  []byte(cfg.PinPepper),
		params:  params{memory: cfg.Argon2MemoryKiB, time: cfg.Argon2Time},
		places:  make(chan struct{}, workers+cfg.Argon2Queue),
		workers: make(chan struct{}, workers),
		metrics: m,

		remembered: newRemembered(cfg.PinRemembered),
	}
	var err error
	h.dummy, err = h.hash(context.Background(), rand.Text())
	return h, err
}

// hash makes the hash of a new pin. Fault: Unavailable, when the queue is full or
// ctx ends in it.
func (h *hasher) hash(ctx context.Context, pin string) (string, error) {
	leave, err := h.enter(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	p := phc{params: h.params, salt: make([]byte, saltSize)}
	rand.Read(p.salt)
	p.hash = h.derive(pin, p)
	stored := p.String()
	h.remembered.add(pin, stored, time.Now()) // whoever just chose it may be cut off and log in
	return stored, nil
}

// verify says whether pin is the one that stored was made of. An empty stored,
// that of an unknown user, takes the same time as a wrong pin and is never right.
// Fault: Unavailable, as with hash.
func (h *hasher) verify(ctx context.Context, pin, stored string) (bool, error) {
	known := stored != ""
	if !known {
		stored = h.dummy
	}
	if known && h.remembered.has(pin, stored, time.Now()) {
		h.metrics.pinsRemembered.Inc()
		return true, nil
	}
	p, err := parsePHC(stored)
	if err != nil {
		return false, err
	}
	leave, err := h.enter(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	same := subtle.ConstantTimeCompare(h.derive(pin, p), p.hash) == 1
	if same && known {
		h.remembered.add(pin, stored, time.Now())
	}
	return same && known, nil
}

// enter waits for a worker; whoever got one calls leave.
func (h *hasher) enter(ctx context.Context) (leave func(), err error) {
	select {
	case h.places <- struct{}{}:
	default:
		h.metrics.pinsRefused.Inc()
		return nil, fault.New(fault.Unavailable, "too many logins at once, try again")
	}
	start := time.Now()
	h.metrics.pinQueue.Inc()
	defer h.metrics.pinQueue.Dec()
	select {
	case h.workers <- struct{}{}:
		h.metrics.pinWait.Observe(time.Since(start).Seconds())
		return func() { <-h.workers; <-h.places }, nil
	case <-ctx.Done():
		<-h.places
		return nil, fault.Wrap(fault.Unavailable, ctx.Err(), "gave up waiting for a login")
	}
}

// derive is the slow part. The pepper, which is not in the database, makes a
// stolen table of hashes useless for guessing.
func (h *hasher) derive(pin string, p phc) []byte {
	peppered := hmac.New(sha256.New, h.pepper)
	peppered.Write([]byte(pin))
	return argon2.IDKey(peppered.Sum(nil), p.salt, p.time, p.memory, lanes, hashSize)
}
