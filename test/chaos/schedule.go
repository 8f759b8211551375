package chaos

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Kind is a way to break something.
type Kind string

// The kinds of faults.
const (
	KillGateway    Kind = "gateway killed"
	DrainGateway   Kind = "gateway drained (SIGTERM)"
	KillSocial     Kind = "social killed"
	KillAccounts   Kind = "accounts killed"
	KillRedis      Kind = "redis killed, empty"
	KillPostgres   Kind = "postgres restarted, immediate"
	PauseGateway   Kind = "gateway stopped for a while"
	PauseSocial    Kind = "social stopped for a while"
	PauseRedis     Kind = "redis stopped for a while"
	CutSubscribers Kind = "subscribers cut"
	LoseAnswers    Kind = "answers of social lost"
	CutClients     Kind = "sockets cut, the server not told"
	CutServers     Kind = "sockets cut, the client not told"
	FreezeReaders  Kind = "readers frozen"
	FreezeAndCut   Kind = "readers frozen, then cut"
	LogOut         Kind = "users logged out, and back later"
	CloseOne       Kind = "one of two sockets closed"
)

// kinds are all of them, each at least once in a round of a plan.
var kinds = []Kind{
	KillGateway, DrainGateway, KillSocial, KillAccounts, KillRedis, KillPostgres,
	PauseGateway, PauseSocial, PauseRedis, CutSubscribers, LoseAnswers,
	CutClients, CutServers, FreezeReaders, FreezeAndCut, LogOut, CloseOne,
}

// Fault is one entry of a plan.
type Fault struct {
	At, For time.Duration // since the begin, and how long it lasts
	Kind    Kind
	Gateway int   // which one, from 0
	Users   []int // by index
}

const (
	// settle is how long before the end of the traffic the last fault is over.
	settle = 2 * time.Second
	// leastRound is the least time for all kinds in the long form.
	leastRound = 40 * time.Second
	// calm is the pause with which a round begins: what came in it has to be confirmed
	// when it ends.
	calm = 4 * time.Second
)

// Plan spreads faults over a time, in rounds of all kinds. The same seed gives the
// same plan.
func Plan(seed uint64, length time.Duration, gateways, users int) []Fault {
	random := rand.New(rand.NewPCG(seed, 0))
	rounds := max(1, int((length-settle)/leastRound))
	round := (length - settle) / time.Duration(rounds)
	var plan []Fault
	for i := range rounds {
		p := planRound(random, round, gateways, users, rounds > 1)
		for _, f := range p {
			f.At += time.Duration(i) * round
			plan = append(plan, f)
		}
	}
	slices.SortStableFunc(plan, func(a, b Fault) int { return int(a.At - b.At) })
	return plan
}

// planRound has every kind once, in random order but for two. Amid the calm all who
// have two sockets close one, and have to stay connected: no gateway is in doubt then
// of who is. After the calm a gateway is killed, whose users must not get again what
// they had confirmed. Another one is killed while social is down: it takes with it what
// it has not stored.
func planRound(random *rand.Rand, length time.Duration, gateways, users int, long bool) []Fault {
	order := slices.DeleteFunc(slices.Clone(kinds), func(k Kind) bool { return k == CloseOne })
	random.Shuffle(len(order)-1, func(i, j int) { order[i+1], order[j+1] = order[j+1], order[i+1] })
	longest := 2500 * time.Millisecond
	step := (length - calm - longest) / time.Duration(len(order))
	plan := []Fault{{At: calm / 4, For: calm / 4, Kind: CloseOne, Users: random.Perm(users)}}
	for i, kind := range order {
		f := Fault{
			At:      calm + time.Duration(i)*step + rand64(random, step),
			For:     duration(random, kind, long),
			Kind:    kind,
			Gateway: random.IntN(gateways),
			Users:   some(random, users),
		}
		plan = append(plan, f)
		if kind == KillSocial {
			plan = append(plan, Fault{At: min(f.At+f.For/2, length), For: 300 * time.Millisecond, Kind: KillGateway, Gateway: f.Gateway})
		}
	}
	return plan
}

// duration is how long a fault lasts. In the long form one in four outlasts what
// others wait for: SEND_TIMEOUT, PATIENCE.
func duration(random *rand.Rand, kind Kind, long bool) time.Duration {
	shortest, longest := 300*time.Millisecond, 2500*time.Millisecond
	switch kind {
	case KillSocial:
		shortest = 1200 * time.Millisecond
	case LoseAnswers:
		longest = 800 * time.Millisecond
	case FreezeReaders, FreezeAndCut, LogOut:
		shortest = 1500 * time.Millisecond
	case CutSubscribers:
		return 0
	}
	if long && random.IntN(4) == 0 {
		switch kind {
		case KillSocial, KillPostgres, PauseRedis, KillRedis, PauseSocial:
			shortest, longest = 5*time.Second, 7*time.Second
		case FreezeReaders, FreezeAndCut, CutClients:
			shortest, longest = 10*time.Second, 13*time.Second
		}
	}
	return shortest + rand64(random, longest-shortest)
}

func rand64(random *rand.Rand, limit time.Duration) time.Duration {
	return time.Duration(random.Int64N(int64(limit)))
}

// some picks a fifth of the users.
func some(random *rand.Rand, users int) []int {
	picked := random.Perm(users)[:max(1, users/5)]
	slices.Sort(picked)
	return picked
}
