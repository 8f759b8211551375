//go:build !linux

package child

import "syscall"

// Only Linux can tie a child's life to its parent's. Elsewhere a parent that is
// killed leaves its children running; one that ends normally stops them itself.
func signalOnParentDeath(*syscall.SysProcAttr, syscall.Signal) {}
