package social

import "sync"

// recent remembers about most keys, those asked for lately rather than others: when
// the young half is full it becomes the old one, and the old one is forgotten.
type recent[K comparable] struct {
	most int // static

	mu    sync.Mutex // guards all below
	young map[K]struct{}
	old   map[K]struct{}
}

func newRecent[K comparable](most int) *recent[K] {
	return &recent[K]{most: most, young: map[K]struct{}{}}
}

// has says of each of the keys whether it is remembered.
func (r *recent[K]) has(keys []K) []bool {
	known := make([]bool, len(keys))
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, k := range keys {
		_, isYoung := r.young[k]
		_, isOld := r.old[k]
		known[i] = isYoung || isOld
		if isOld && !isYoung {
			r.put(k)
		}
	}
	return known
}

func (r *recent[K]) add(keys []K) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range keys {
		r.put(k)
	}
}

// put needs mu.
func (r *recent[K]) put(key K) {
	if len(r.young) >= max(r.most/2, 1) {
		r.young, r.old = map[K]struct{}{}, r.young
	}
	r.young[key] = struct{}{}
}
