package client

// cursor is a place in the log of events: everything up to seq is behind it. The
// zero value is no place.
type cursor struct {
	epoch string
	seq   int64
}

func (c cursor) known() bool { return c.epoch != "" }

// track is how far the events of one user have come, over all connections. It is
// owned by whoever reads the connection.
type track struct {
	at cursor
	// missing is where something was missing last. If it is where the connection has
	// resumed, and still nothing comes from there, then the server has read its store
	// and has nothing to show: kinds of events of later versions have seqs, too.
	missing cursor
}

// verdict is what to do with an event.
type verdict int

const (
	next     verdict = iota // take it
	repeated                // had it before
	gap                     // something before it is missing
)

// judge says what an event with this seq is. It must be of the same epoch.
func (t *track) judge(seq int64) verdict {
	switch {
	case !t.at.known() || seq == t.at.seq+1:
		return next
	case seq <= t.at.seq:
		return repeated
	case t.missing == t.at:
		return next
	}
	return gap
}
