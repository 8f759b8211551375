package bell

// keptPayloads is how many bytes a round keeps for the next one.
const keptPayloads = 1 << 20

// round is what is published at once. It is used again and again.
type round struct {
	rings    []ring
	chains   []chain
	next     []int       // the place of the ring that follows one in its chain
	latest   map[int]int // user: the place of the last chain
	payloads []byte
}

// chain are the places of rings whose events share a payload: what Redis and the gateways
// that listen have to do is by the payload.
type chain struct {
	first, last int
	size        int // of the payload, about
}

func newRound() *round { return &round{latest: map[int]int{}} }

// gather takes what is queued behind first, without waiting.
func (o *round) gather(first ring, queue <-chan ring) {
	clear(o.rings)
	o.rings = append(o.rings[:0], first)
	for len(o.rings) < ringBatch {
		select {
		case next := <-queue:
			o.rings = append(o.rings, next)
		default:
			return
		}
	}
}

// join makes the chains: the events of one user go together, in their order.
func (o *round) join() {
	o.chains, o.next, o.payloads = o.chains[:0], o.next[:0], o.payloads[:0]
	if cap(o.payloads) > keptPayloads {
		o.payloads = nil
	}
	clear(o.latest)
	for i := range o.rings {
		r := &o.rings[i]
		o.next = append(o.next, 0)
		at, ok := o.latest[r.user]
		if ok && o.takes(o.chains[at], r) {
			c := &o.chains[at]
			o.next[c.last] = i
			c.last, c.size = i, c.size+sizeOf(&r.event)
			continue
		}
		o.latest[r.user] = len(o.chains)
		o.chains = append(o.chains, chain{first: i, last: i, size: sizeOf(&r.event)})
	}
}

// takes says whether the event of r, which comes later, can go with those of c.
func (o *round) takes(c chain, r *ring) bool {
	first := &o.rings[c.first]
	return first.other == nil && r.other == nil && first.epoch == r.epoch && c.size+sizeOf(&r.event) <= joinedBytes
}

// payload encodes a chain. It is good until the next call of join.
func (o *round) payload(c chain) ([]byte, error) {
	first := &o.rings[c.first]
	if first.other != nil {
		return encodeOther(*first.other)
	}
	start := len(o.payloads)
	o.payloads = appendHead(o.payloads, first.epoch)
	for i := c.first; ; i = o.next[i] {
		o.payloads = appendEvent(o.payloads, &o.rings[i].event)
		if i == c.last {
			return o.payloads[start:], nil
		}
	}
}
