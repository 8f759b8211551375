//go:build race

package chaos

// raced says that this test, and so the services, are built with the race detector.
const raced = true
