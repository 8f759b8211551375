package client_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"pymessage/client"
)

// result is what a request that was made in the background came to.
type result struct {
	sent client.SendResult
	err  error
}

// sends sends in the background.
func (b *bot) sends(ctx context.Context, content string) chan result {
	done := make(chan result, 1)
	go func() {
		sent, err := b.Send(ctx, 20000002, content)
		done <- result{sent, err}
	}()
	synctest.Wait() // so that sends are in order
	return done
}

// message reads a send_msg, and gives its ref and nonce.
func (p *peer) message(content string) (ref, nonce any) {
	p.t.Helper()
	o := object(p.read())
	if o["type"] != "send_msg" || o["recipient"] != 20000002.0 || o["content"] != content {
		p.fail("%v is not the message %q", o, content)
	}
	return o["ref"], o["nonce"]
}

// stored answers a send_msg.
func (p *peer) stored(ref any, seq int) {
	p.t.Helper()
	p.send(`{"type":"send_resp","status":"queued","id":"20000002-%d","sent_at":%d,"ref":%v}`, seq, seq, ref)
}

func storedAs(seq int) client.SendResult {
	return client.SendResult{Status: client.Queued, ID: fmt.Sprintf("20000002-%d", seq), SentAt: time.UnixMilli(int64(seq)).UTC()}
}

func (r result) is(t *testing.T, want client.SendResult) {
	t.Helper()
	if diff := cmp.Diff(want, r.sent); diff != "" || r.err != nil {
		t.Errorf("%v, %s", r.err, diff)
	}
}

// entered is the beginning of scenes in which only requests matter.
func entered(p *peer) {
	p.t.Helper()
	p.welcome()
	p.synced(0)
}

func TestAnswersAreMatchedByRef(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := play(t, nil, func(p *peer) {
			entered(p)
			first, nonce := p.message("first")
			second, other := p.message("second")
			third, _ := p.message("third")
			if nonce == other || len(nonce.(string)) < 16 {
				p.fail("nonces %v and %v", nonce, other)
			}
			p.send(`{"type":"send_resp","status":"queued","id":"of nobody","ref":77}`)
			p.stored(third, 3)
			p.stored(first, 1)
			p.send(`{"type":"error","error":"20000002 is not your friend","code":"not_friend","ref":%v}`, second)
			p.goodbye()
		})
		first, second, third := b.sends(t.Context(), "first"), b.sends(t.Context(), "second"), b.sends(t.Context(), "third")
		(<-third).is(t, storedAs(3))
		(<-first).is(t, storedAs(1))
		r := <-second
		var answer *client.Error
		if !errors.Is(r.err, client.ErrNotFriend) || errors.Is(r.err, client.ErrNotConnected) || !errors.As(r.err, &answer) {
			t.Errorf("got %v", r.err)
		}
	})
}

func TestWhatWasNotAnsweredIsSentAgainInOrderWithItsNonce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		nonces := map[string]any{}
		b := play(t, nil, func(p *peer) {
			entered(p)
			_, nonces["a"] = p.message("a")
			b, _ := p.message("b")
			_, nonces["c"] = p.message("c")
			p.stored(b, 2)
			p.message("d") // cut while it is written
		}, nil, func(p *peer) {
			entered(p)
			a, nonce := p.message("a")
			if nonce != nonces["a"] {
				p.fail("a has another nonce")
			}
			c, nonce := p.message("c")
			if nonce != nonces["c"] {
				p.fail("c has another nonce")
			}
			d, _ := p.message("d")
			p.stored(a, 1)
			p.stored(c, 3)
			p.stored(d, 4)
			p.goodbye()
		})
		var results []chan result
		for _, content := range []string{"a", "b", "c", "d"} {
			results = append(results, b.sends(t.Context(), content))
		}
		for i, r := range results {
			(<-r).is(t, storedAs(i+1))
		}
	})
}

func TestErrorsThatPassAreRetriedWhenTheServerSaysSo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var nonce any
		refuse := func(p *peer, code string) {
			ref, again := p.message("hi")
			if nonce != nil && nonce != again {
				p.fail("it has another nonce")
			}
			nonce = again
			p.send(`{"type":"error","error":"wait","code":"%s","retry_after_ms":2000,"ref":%v}`, code, ref)
		}
		began := time.Now()
		b := play(t, nil, func(p *peer) {
			entered(p)
			refuse(p, "too_many_requests")
			refuse(p, "unavailable")
			refuse(p, "send_failed")
			ref, _ := p.message("hi")
			p.stored(ref, 1)
			p.goodbye()
		})
		(<-b.sends(t.Context(), "hi")).is(t, storedAs(1))
		if waited := time.Since(began); waited != 6*time.Second {
			t.Errorf("it took %v", waited)
		}
	})
}

func TestASendThatIsGivenUpSaysWhetherItMayHaveBeenStored(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		scenes  []scene
		unknown bool
		code    client.Code
	}{
		"never written": {scenes: []scene{func(p *peer) {
			p.read() // a login that is not answered
			p.gone()
		}}},
		"not answered": {scenes: []scene{func(p *peer) {
			entered(p)
			ref, _ := p.message("hi")
			<-time.After(20 * time.Second)
			p.stored(ref, 1) // nobody cares
			p.goodbye()
		}}, unknown: true},
		"throttled": {scenes: []scene{func(p *peer) {
			entered(p)
			ref, _ := p.message("hi")
			p.send(`{"type":"error","error":"slow down","code":"too_many_requests","retry_after_ms":60000,"ref":%v}`, ref)
			p.goodbye()
		}}, code: client.ErrTooManyRequests},
		"perhaps stored": {scenes: []scene{func(p *peer) {
			entered(p)
			ref, _ := p.message("hi")
			p.send(`{"type":"error","error":"failed","code":"send_failed","retry_after_ms":60000,"ref":%v}`, ref)
			p.goodbye()
		}}, unknown: true, code: client.ErrSendFailed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := play(t, nil, tt.scenes...)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				err := (<-b.sends(ctx, "hi")).err
				if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, client.ErrUnknownOutcome) != tt.unknown {
					t.Errorf("got %v", err)
				}
				if tt.code != "" && !errors.Is(err, tt.code) {
					t.Errorf("got %v", err)
				}
				if name == "not answered" {
					<-time.After(20 * time.Second)
				}
			})
		})
	}
}

func TestOnlySoManyRequestsAreOutstanding(t *testing.T) {
	bubble(t, func(t *testing.T) {
		goOn := make(chan struct{})
		b := play(t, func(c *client.Config) { c.MaxOutstanding = 2 }, func(p *peer) {
			entered(p)
			first, _ := p.message("first")
			p.message("second")
			<-goOn
			p.stored(first, 1)
			third, _ := p.message("third")
			p.stored(third, 3)
			p.goodbye()
		})
		first := b.sends(t.Context(), "first")
		ctx, cancel := context.WithCancel(t.Context())
		second := b.sends(ctx, "second")
		third := b.sends(t.Context(), "third")
		impatient, giveUp := context.WithTimeout(t.Context(), time.Second)
		defer giveUp()
		fourth := b.sends(impatient, "fourth")
		if err := (<-fourth).err; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		close(goOn)
		(<-first).is(t, storedAs(1))
		(<-third).is(t, storedAs(3))
		cancel()
		if err := (<-second).err; !errors.Is(err, client.ErrUnknownOutcome) {
			t.Errorf("got %v", err)
		}
	})
}

func TestWhatTheServerWouldRefuseDoesNotGetThere(t *testing.T) {
	t.Parallel()
	b, err := client.New(client.Config{URLs: []string{"ws://a/"}, Username: "bob", Pin: "1234"})
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"\x00", "\xff", strings.Repeat("☃", 4097)} {
		if _, err := b.Send(t.Context(), 1, content); !errors.Is(err, client.ErrBadRequest) {
			t.Errorf("%.10q: got %v", content, err)
		}
	}
	for _, nonce := range []string{"", "\x00", "\xff", strings.Repeat("x", 65)} {
		if _, err := b.SendOnce(t.Context(), nonce, 1, "hi"); !errors.Is(err, client.ErrBadRequest) {
			t.Errorf("%q: got %v", nonce, err)
		}
	}
}

func TestSendOnceHasTheNonceOfItsCaller(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := play(t, nil, func(p *peer) {
			entered(p)
			p.expect(`{"type":"send_msg","ref":2,"recipient":20000002,"content":"☃<>","nonce":"mine"}`)
			p.stored(2, 1)
			p.goodbye()
		})
		b.hears("synced 0")
		sent, err := b.SendOnce(t.Context(), "mine", 20000002, "☃<>")
		result{sent, err}.is(t, storedAs(1))
	})
}

func TestFriends(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := play(t, nil, func(p *peer) {
			entered(p)
			p.expect(`{"type":"get_friends","ref":2}`)
		}, func(p *peer) {
			entered(p)
			p.expect(`{"type":"get_friends","ref":2}`) // as it was: it does no harm to ask again
			p.send(`{"type":"friends_resp","friends":[{"username":"al","id":7}],"ref":2}`)
			p.expect(`{"type":"request_friend","ref":4,"user":7}`)
			p.send(`{"type":"error","error":"slow down","code":"too_many_requests","ref":4}`)
			p.expect(`{"type":"request_friend","ref":5,"user":7}`)
			p.send(`{"type":"request_resp","status":"sent","ref":5}`)
			p.expect(`{"type":"add_friend","ref":6,"user":7}`)
			p.send(`{"type":"error","error":"no friend request from 7","code":"no_request","ref":6}`)
			p.expect(`{"type":"deny_friend","ref":7,"user":7}`)
		}, func(p *peer) {
			entered(p)
			p.goodbye() // nobody knows whether the request was denied
		})
		b.hears("synced 0")
		friends, err := b.Friends(t.Context())
		if diff := cmp.Diff([]client.Friend{{Username: "al", ID: 7}}, friends); diff != "" || err != nil {
			t.Error(err, diff)
		}
		if err := b.RequestFriend(t.Context(), 7); err != nil {
			t.Error(err)
		}
		if err := b.AcceptFriend(t.Context(), 7); !errors.Is(err, client.ErrNoRequest) {
			t.Errorf("got %v", err)
		}
		if err := b.DenyFriend(t.Context(), 7); !errors.Is(err, client.ErrUnknownOutcome) {
			t.Errorf("got %v", err)
		}
		b.hears("synced 0", "synced 0")
	})
}

func TestRequestsEndWithTheClient(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := play(t, func(c *client.Config) { c.MaxOutstanding = 2 }, func(p *peer) {
			entered(p)
			p.message("written")
			ref, _ := p.message("throttled")
			p.send(`{"type":"error","error":"wait","code":"unavailable","retry_after_ms":60000,"ref":%v}`, ref)
			p.message("also written")
			<-time.After(time.Second)
			p.close(4500)
		})
		written, throttled := b.sends(t.Context(), "written"), b.sends(t.Context(), "throttled")
		late := b.sends(t.Context(), "also written")
		waiting := b.sends(t.Context(), "waiting")
		for name, r := range map[string]chan result{"written": written, "throttled": throttled, "also written": late} {
			if err := (<-r).err; !errors.Is(err, client.ErrUnknownOutcome) || !errors.Is(err, client.ErrClosed) {
				t.Errorf("%s: got %v", name, err)
			}
		}
		var closed *client.CloseError
		if err := (<-waiting).err; errors.Is(err, client.ErrUnknownOutcome) || !errors.As(err, &closed) {
			t.Errorf("got %v", err)
		}
		if err := b.ends(); !errors.As(err, &closed) || closed.Code != 4500 {
			t.Errorf("got %v", err)
		}
		if err := (<-b.sends(t.Context(), "too late")).err; !errors.Is(err, client.ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}
