package accounts

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"pymessage/internal/fault"
	"pymessage/services/accounts/accountsapi"
)

// resumeMany resumes over HTTP, and says what each got: a name, or the kind of a fault.
func resumeMany(t *testing.T, c *accountsapi.Client, tokens ...accountsapi.Token) (got []string) {
	t.Helper()
	answers, err := c.ResumeMany(t.Context(), tokens)
	if err != nil {
		t.Fatal(err)
	}
	for _, each := range answers {
		session, err := each.Get()
		if err != nil {
			got = append(got, string(fault.KindOf(err)))
		} else {
			got = append(got, session.Username)
		}
	}
	return got
}

func TestEachOfManyResumesIsJudgedByItself(t *testing.T) {
	t.Parallel()

	cfg := migrate(t, testConfig(t))
	s := start(t, cfg)
	c := serveInternal(t, s, cfg)
	register(t, s, "ann", "1234")
	register(t, s, "bob", "1234")
	ann, bob, gone, late := begin(t, s, "ann", "1234"), begin(t, s, "bob", "1234"), begin(t, s, "bob", "1234"), begin(t, s, "ann", "1234")
	end(t, s, gone.ID, gone.Session)
	execute(t, s, `UPDATE sessions SET expires_at = now() WHERE id = $1`, late.Session)
	var tokens []accountsapi.Token
	for i, text := range []string{ann.Token, "", bob.Token, gone.Token, "\x00\xff", late.Token, newToken().text, ann.Token} {
		tokens = append(tokens, accountsapi.Token{Token: text, Address: fmt.Sprintf("192.0.2.%d", i)})
	}
	const over = "unauthorized"
	want := []string{"ann", over, "bob", over, over, over, over, "ann"}
	if diff := cmp.Diff(want, resumeMany(t, c, tokens...)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for outcome, n := range map[string]float64{"ok": 3, "unauthorized": 5} {
		if got := testutil.ToFloat64(s.metrics.resumes.WithLabelValues(outcome)); got != n {
			t.Errorf("%v resumes are %s, want %v", got, outcome, n)
		}
	}
	answers, err := s.resumeMany(t.Context(), tokens[:1])
	want1 := ann
	want1.Token = "" // given once
	if err != nil || answers[0].Value != want1 {
		t.Errorf("got %+v, %v; want %+v", answers, err, want1)
	}
	if answers, err := s.resumeMany(t.Context(), nil); err != nil || len(answers) != 0 {
		t.Errorf("none got %+v, %v", answers, err)
	}
	if _, err := c.ResumeMany(t.Context(), make([]accountsapi.Token, accountsapi.MaxResumes+1)); fault.KindOf(err) != fault.Invalid {
		t.Errorf("too many got %v", err)
	}
}

// TestGuessesTogetherAreCountedOneByOne lets somebody guess in between others, who come
// from elsewhere with what is theirs.
func TestGuessesTogetherAreCountedOneByOne(t *testing.T) {
	t.Parallel()

	cfg := migrate(t, testConfig(t))
	cfg.LoginFailuresPerAddress, cfg.LoginFailuresOverall = 3, 5
	s := start(t, cfg)
	c := serveInternal(t, s, cfg)
	register(t, s, "bob", "1234")
	bob := begin(t, s, "bob", "1234")
	guessFrom := func(address string) accountsapi.Token {
		return accountsapi.Token{Token: newToken().text, Address: address}
	}
	from := func(address string) accountsapi.Token { return accountsapi.Token{Token: bob.Token, Address: address} }
	const over, tooMany = "unauthorized", "too_many"
	for i, step := range []struct {
		tokens []accountsapi.Token
		want   []string
	}{
		{[]accountsapi.Token{guessFrom("2001:db8:1:2::1"), guessFrom("2001:db8:1:2::2"), from("2001:db8:1:2::3"), from(home)}, []string{over, over, "bob", "bob"}},
		// One more is answered; all were under the limit when they came.
		{[]accountsapi.Token{guessFrom("2001:db8:1:2::1"), guessFrom("2001:db8:1:2::1"), from(home), from("2001:db8:1:2::1")}, []string{over, tooMany, "bob", "bob"}},
		{[]accountsapi.Token{from("2001:db8:1:2::9"), from(home), guessFrom("192.0.2.7")}, []string{tooMany, "bob", over}},
		// Five in all: the last one fills what everybody has.
		{[]accountsapi.Token{guessFrom("192.0.2.8"), guessFrom("192.0.2.9"), from(home)}, []string{over, tooMany, "bob"}},
		{[]accountsapi.Token{from(home)}, []string{tooMany}},
	} {
		if diff := cmp.Diff(step.want, resumeMany(t, c, step.tokens...)); diff != "" {
			t.Errorf("step %d (-want +got):\n%s", i, diff)
		}
	}
}

func TestWithoutItsStoreNoneOfManyIsResumed(t *testing.T) {
	t.Parallel()

	cfg := migrate(t, testConfig(t))
	s := start(t, cfg)
	c := serveInternal(t, s, cfg)
	s.store.close()
	token := accountsapi.Token{Token: newToken().text, Address: home}
	if _, err := c.ResumeMany(t.Context(), []accountsapi.Token{token, token}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got %v", err)
	}
	if n := testutil.ToFloat64(s.metrics.resumes.WithLabelValues("unavailable")); n != 2 {
		t.Errorf("%v resumes are counted", n)
	}
}
