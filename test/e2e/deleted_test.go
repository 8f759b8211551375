package e2e

import (
	"slices"
	"testing"
	"time"
)

// TestTheSocketsOfADeletedAccountEndWithinASecond measures it several times, with
// nothing being killed: from the answer to the deletion until the last of four sockets,
// of either version and at either gateway, was closed.
func TestTheSocketsOfADeletedAccountEndWithinASecond(t *testing.T) {
	t.Parallel()
	d := deployment(t)
	one, two := pair(d)
	rest := newStranger(t, d.URL())
	const accounts = 11
	var tokens [accounts]string
	var sockets [accounts][]*rawClient
	for i := range accounts {
		user := create2(t, one, "deleted")
		there, _ := user.resume(two, 0)
		tokens[i] = user.token
		sockets[i] = []*rawClient{&user.rawClient, &there.rawClient, user.again(one), user.again(two)}
	}
	<-time.After(freshCheck)
	var took []time.Duration
	for i, token := range tokens {
		rest.as(token).want(204, "POST", "/accounts/v1/me/deletion", object{"pin": pin})
		answered := time.Now()
		for _, socket := range sockets[i] {
			socket.endsWith(4502)
		}
		took = append(took, time.Since(answered))
	}
	slices.Sort(took)
	t.Logf("from the answer to the last close: median %v, longest %v", took[accounts/2], took[accounts-1])
	if took[accounts-1] >= time.Second {
		t.Errorf("took %v", took)
	}
}
