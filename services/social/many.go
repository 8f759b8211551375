package social

import (
	"context"

	"pymessage/internal/fault"
	"pymessage/internal/httpjson"
	"pymessage/services/social/socialapi"
)

// When a gateway dies, all who were on it open their inboxes at once, and most of them
// read a little. The others ask for many, which is one statement.

func (s *server) openMany(ctx context.Context, in []socialapi.UserRequest) ([]httpjson.Each[socialapi.Opening], error) {
	return forEach(in, func(r socialapi.UserRequest) error { return checkUser(r.User) },
		func(good []socialapi.UserRequest) ([]socialapi.Opening, error) {
			users := make([]int, len(good))
			for i, r := range good {
				users[i] = r.User
			}
			return s.store.openMany(ctx, users)
		})
}

func (s *server) readMany(ctx context.Context, in []socialapi.ReadRequest) ([]httpjson.Each[socialapi.Page], error) {
	return forEach(in, checkShort, func(good []socialapi.ReadRequest) ([]socialapi.Page, error) {
		return s.store.readMany(ctx, good)
	})
}

func checkRead(r socialapi.ReadRequest) error {
	switch {
	case !isID(r.User):
		return checkUser(r.User)
	case r.After < 0:
		return fault.New(fault.Invalid, "after must not be negative")
	case r.Limit < 1 || r.Limit > socialapi.MaxPage:
		return fault.New(fault.Invalid, "limit must be from 1 to %d", socialapi.MaxPage)
	}
	return nil
}

func checkShort(r socialapi.ReadRequest) error {
	if r.Limit > socialapi.MaxShort {
		return fault.New(fault.Invalid, "limit of one of many must be from 1 to %d", socialapi.MaxShort)
	}
	return checkRead(r)
}

// forEach answers each of many by its fault, or by what ask has for it, which is asked
// once for all that have none.
func forEach[In, Out any](in []In, check func(In) error, ask func([]In) ([]Out, error)) ([]httpjson.Each[Out], error) {
	answers := make([]httpjson.Each[Out], len(in))
	var good []In
	var places []int
	for i, r := range in {
		if err := check(r); err != nil {
			answers[i] = httpjson.Answered(*new(Out), err)
			continue
		}
		good, places = append(good, r), append(places, i)
	}
	if len(good) == 0 {
		return answers, nil
	}
	out, err := ask(good)
	if err != nil {
		return nil, err
	}
	for i, place := range places {
		answers[place].Value = out[i]
	}
	return answers, nil
}
