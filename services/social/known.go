package social

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"pymessage/services/accounts/accountsapi"
)

const (
	// lookupTimeout bounds a question to accounts: a lane of a gateway waits for
	// the answer, and gives up an attempt after 3 s.
	lookupTimeout = 2 * time.Second

	// rememberedUsers is how many users the memory holds, about 15 bytes each.
	// Others cost a look into the store.
	rememberedUsers = 1 << 20
)

// directory knows who exists. Whoever exists is remembered: in memory, and by having
// an inbox. Who does not is asked for anew each time, since the account may be made
// the moment after. An account that is deleted may be remembered for long: what is
// stored for it is refused by the store, which knows that its inbox is closed.
type directory struct {
	store    *store
	accounts *accountsapi.Client
	known    *recent[int]
	metrics  *metrics
	log      *slog.Logger
	complain rate.Sometimes
}

// existence is what the directory found out about some users.
type existence struct {
	known map[int]bool
	sure  bool // who is not known does not exist; otherwise accounts did not say
}

func (e *existence) note(users []int) {
	for _, u := range users {
		e.known[u] = true
	}
}

// rest is each of the users once who is not known.
func (e *existence) rest(users []int) []int {
	rest := slices.DeleteFunc(slices.Clone(users), func(u int) bool { return e.known[u] })
	slices.Sort(rest)
	return slices.Compact(rest)
}

// find tells which of the users exist; all must have ids in range. While accounts
// is away it knows those that it has heard of before. The error is the store's.
func (d *directory) find(ctx context.Context, users []int) (existence, error) {
	e := existence{known: make(map[int]bool, len(users)), sure: true}
	for i, known := range d.known.has(users) {
		if known {
			e.known[users[i]] = true
		}
	}
	for _, ask := range []func(context.Context, []int) ([]int, bool, error){d.askStore, d.askAccounts} {
		rest := e.rest(users)
		if len(rest) == 0 {
			break
		}
		found, sure, err := ask(ctx, rest)
		if err != nil {
			return e, err
		}
		e.note(found)
		e.sure = sure
		d.known.add(found)
	}
	return e, nil
}

func (d *directory) askStore(ctx context.Context, users []int) (found []int, sure bool, err error) {
	found, err = d.store.withInbox(ctx, users)
	return found, true, err
}

// askAccounts gives inboxes to those who turn out to exist. It is not sure when
// accounts fails.
func (d *directory) askAccounts(ctx context.Context, users []int) (found []int, sure bool, err error) {
	found, lookupErr := d.lookup(ctx, users)
	if lookupErr != nil {
		d.complain.Do(func() {
			d.log.WarnContext(ctx, "accounts could not be asked who exists", "users", len(users), "err", lookupErr)
		})
	}
	if len(found) > 0 {
		err = d.store.addInboxes(ctx, found)
	}
	return found, lookupErr == nil, err
}

// lookup gives what it found, also with an error.
func (d *directory) lookup(ctx context.Context, users []int) (found []int, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	asked := 0
	for chunk := range slices.Chunk(users, accountsapi.MaxLookup) {
		var page []accountsapi.User
		if page, err = d.accounts.Lookup(ctx, chunk); err != nil {
			break
		}
		asked += len(chunk)
		for _, u := range page {
			found = append(found, u.ID)
		}
	}
	d.metrics.lookups.WithLabelValues("found").Add(float64(len(found)))
	d.metrics.lookups.WithLabelValues("absent").Add(float64(asked - len(found)))
	d.metrics.lookups.WithLabelValues("failed").Add(float64(len(users) - asked))
	return found, err
}
