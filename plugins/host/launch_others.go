//go:build !amd64

package host

// deniedCalls are the system calls that a plugin has no use for and others would
// suffer from.
func deniedCalls() []string { return deniedEverywhere }
