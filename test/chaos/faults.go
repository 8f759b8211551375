package chaos

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"pymessage/internal/local"
)

// target is what faults are done to.
type target struct {
	deployment *local.Deployment
	relays     []*relay // of the users, by index
	users      []user
	ids        []int  // of the users
	social     *relay // between the gateways and social
	// cutSubscribers closes every connection of Redis that subscribes.
	cutSubscribers func(ctx context.Context) error
	// slowCommits has every commit of Postgres take a while, or not any more.
	slowCommits func(ctx context.Context, slow bool) error
	rec         *recorder
	log         func(format string, args ...any)

	flooded atomic.Pointer[[]int] // users who are frozen: one of them should get much
	away    atomic.Pointer[[]int] // users who have logged out

	began, ended Instant // of the traffic

	mu    sync.Mutex
	locks map[string]*sync.Mutex // one fault at a time for each program
}

// do carries out a plan and returns when everything is whole again.
func (t *target) do(ctx context.Context, plan []Fault) error {
	t.locks = map[string]*sync.Mutex{}
	began := time.Now()
	var running sync.WaitGroup
	errs := make([]error, len(plan))
	for i, f := range plan {
		if !sleepUntil(ctx, began.Add(f.At)) {
			break
		}
		running.Go(func() {
			if err := t.carryOut(ctx, f, fmt.Sprintf("#%d", i)); err != nil {
				errs[i] = fmt.Errorf("%s: %w", f.Kind, err)
			}
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

func sleepUntil(ctx context.Context, at time.Time) bool {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// carryOut breaks something, and mends it.
func (t *target) carryOut(ctx context.Context, f Fault, name string) error {
	t.log("%8v %s for %v", t.rec.now().Round(time.Millisecond), t.describe(f), f.For.Round(time.Millisecond))
	switch f.Kind {
	case KillGateway:
		return t.kill(ctx, f, name, t.gateway(f))
	case DrainGateway:
		return t.drain(ctx, f, name, t.gateway(f))
	case KillSocial:
		return t.kill(ctx, f, name, "social")
	case KillAccounts:
		return t.kill(ctx, f, name, "accounts")
	case KillRedis:
		return t.kill(ctx, f, name, "redis")
	case KillPostgres:
		return t.killPostgres(ctx, f, name)
	case PauseGateway:
		return t.stop(ctx, f, name, t.gateway(f))
	case PauseSocial:
		return t.stop(ctx, f, name, "social")
	case PauseRedis:
		return t.stopRedis(ctx, f, name)
	case CutSubscribers:
		defer t.rec.window(f.Kind, name, 0)()
		defer t.lock("redis")()
		return t.cutSubscribers(ctx)
	case LoseAnswers:
		defer t.rec.window(f.Kind, name, 0)()
		t.social.dropping.Store(true)
		defer t.social.dropping.Store(false)
		wait(ctx, f.For)
		return nil
	case LogOut:
		t.logOut(ctx, f, name)
		return nil
	case CloseOne:
		t.closeOne(ctx, f, name)
		return nil
	}
	t.breakUsers(ctx, f, name)
	return nil
}

func (t *target) gateway(f Fault) string { return t.deployment.Gateways()[f.Gateway].Name }

func (t *target) describe(f Fault) string {
	switch f.Kind {
	case KillGateway, DrainGateway, PauseGateway:
		return string(f.Kind) + ": " + t.gateway(f)
	case CutClients, CutServers, FreezeReaders, FreezeAndCut, LogOut, CloseOne:
		return fmt.Sprintf("%s: %d users", f.Kind, len(f.Users))
	}
	return string(f.Kind)
}

// lock waits until no other fault is about a program.
func (t *target) lock(program string) (unlock func()) {
	t.mu.Lock()
	l := t.locks[program]
	if l == nil {
		l = new(sync.Mutex)
		t.locks[program] = l
	}
	t.mu.Unlock()
	l.Lock()
	return l.Unlock
}

// wait is the duration of a fault, which the end of ctx cuts short.
func wait(ctx context.Context, d time.Duration) { sleepUntil(ctx, time.Now().Add(d)) }

// kill ends a program at once and starts it again. It is mended when it is ready.
func (t *target) kill(ctx context.Context, f Fault, name, program string) error {
	defer t.lock(program)()
	defer t.rec.window(f.Kind, name, 0)()
	return t.killNow(ctx, f, program)
}

func (t *target) killNow(ctx context.Context, f Fault, program string) error {
	whole := context.WithoutCancel(ctx)
	if err := t.deployment.Kill(whole, program); err != nil {
		return err
	}
	return t.restart(ctx, f, program)
}

// restart starts a program that has ended, after a while.
func (t *target) restart(ctx context.Context, f Fault, program string) error {
	wait(ctx, f.For)
	whole := context.WithoutCancel(ctx)
	if err := t.deployment.Start(whole, program); err != nil {
		return err
	}
	return t.deployment.Ready(whole, program)
}

// drain ends a program in good order, which excuses nothing, and starts it again.
func (t *target) drain(ctx context.Context, f Fault, name, program string) error {
	defer t.lock(program)()
	defer t.rec.window(f.Kind, name, 0)()
	if err := t.deployment.Terminate(context.WithoutCancel(ctx), program); err != nil {
		return err
	}
	return t.restart(ctx, f, program)
}

// slowTime is how long commits are slow before Postgres crashes.
const slowTime = 500 * time.Millisecond

// killPostgres lets it crash with commits under way: commits that take no time would
// hide who does not wait for them.
func (t *target) killPostgres(ctx context.Context, f Fault, name string) error {
	defer t.lock("postgres")()
	defer t.rec.window(f.Kind, name, 0)()
	whole := context.WithoutCancel(ctx)
	if err := t.slowCommits(whole, true); err != nil {
		return err
	}
	wait(ctx, slowTime)
	err := t.killNow(ctx, f, "postgres")
	return errors.Join(err, t.slowCommits(whole, false))
}

// stop makes a service hang.
func (t *target) stop(ctx context.Context, f Fault, name, program string) error {
	defer t.lock(program)()
	defer t.rec.window(f.Kind, name, 0)()
	service, ok := t.deployment.Service(program)
	if !ok {
		return fmt.Errorf("there is no %s", program)
	}
	pid := service.PID() // it is ours, and waited for by nobody but the deployment
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return err
	}
	wait(ctx, f.For)
	return syscall.Kill(pid, syscall.SIGCONT)
}

func (t *target) stopRedis(ctx context.Context, f Fault, name string) error {
	defer t.lock("redis")()
	defer t.rec.window(f.Kind, name, 0)()
	if err := t.deployment.Redis().Freeze(); err != nil {
		return err
	}
	wait(ctx, f.For)
	return t.deployment.Redis().Thaw()
}

// breakUsers breaks the networks of some users.
func (t *target) breakUsers(ctx context.Context, f Fault, name string) {
	var mend []func()
	for _, i := range f.Users {
		end := t.rec.window(f.Kind, name, t.ids[i])
		mend = append(mend, end, breakUser(t.relays[i], f.Kind)) // mended in reverse order
	}
	if f.Kind == FreezeReaders || f.Kind == FreezeAndCut {
		t.flooded.Store(&f.Users)
		defer t.flooded.Store(nil)
	}
	wait(ctx, f.For)
	for i := len(mend) - 1; i >= 0; i-- {
		mend[i]()
	}
}

// logOut has some users go, and come back later. What is sent to them meanwhile
// waits for them, or is refused.
func (t *target) logOut(ctx context.Context, f Fault, name string) {
	defer t.rec.window(f.Kind, name, 0)()
	for _, i := range f.Users {
		defer t.users[i].leave()()
	}
	t.away.Store(&f.Users)
	defer t.away.Store(nil)
	wait(ctx, f.For)
}

// closeOne has users who have two sockets close one, and open it again later.
func (t *target) closeOne(ctx context.Context, f Fault, name string) {
	defer t.rec.window(f.Kind, name, 0)()
	for _, i := range f.Users {
		defer t.users[i].leaveOne()()
	}
	wait(ctx, f.For)
}

func breakUser(r *relay, kind Kind) (mend func()) {
	client, server := clientSide, serverSide
	switch kind {
	case CutClients:
		return r.cut(&client)
	case CutServers:
		return r.cut(&server)
	case FreezeAndCut:
		r.freeze()
		return func() { r.cut(nil); r.thaw() }
	}
	r.freeze()
	return r.thaw
}
