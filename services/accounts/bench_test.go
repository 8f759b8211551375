package accounts

import "testing"

// The benchmarks are of the statements: what a pin costs is a setting. The server of
// the tests does not wait for the disk; TEST_POSTGRES_URL names one that does.

// BenchmarkLogin finds an account by its name and begins a session of it, which ends
// the oldest one.
func BenchmarkLogin(b *testing.B) {
	s := start(b, migrate(b, testConfig(b)))
	s.store.maxSessions = 5
	register(b, s, "alice", "1234")
	name, _ := checkUsername("alice")
	b.ReportAllocs()
	for b.Loop() {
		user, pinHash, err := s.store.byName(b.Context(), name)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.store.begin(b.Context(), user.ID, pinHash, newToken().hash); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkResume finds the session of a token.
func BenchmarkResume(b *testing.B) {
	s := start(b, migrate(b, testConfig(b)))
	user := register(b, s, "alice", "1234")
	name, _ := checkUsername("alice")
	_, pinHash, err := s.store.byName(b.Context(), name)
	if err != nil {
		b.Fatal(err)
	}
	token := newToken()
	if _, err := s.store.begin(b.Context(), user.ID, pinHash, token.hash); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if found, err := s.store.byTokens(b.Context(), [][]byte{token.hash[:]}); err != nil || found[token.hash].ID != user.ID {
			b.Fatal(found, err)
		}
	}
}
