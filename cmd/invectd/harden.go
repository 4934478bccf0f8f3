package main

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// harden keeps what this process holds from others of the same user: files that
// it makes are private, and its memory can be neither dumped nor traced. Root
// can still read it.
func harden() error {
	unix.Umask(0o077)
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("forbidding core dumps and tracing: %w", err)
	}
	// A second belt: a system call filter may forbid it, and the line above
	// suffices.
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	return nil
}

// wipeVariable removes a variable from the environment, and from the block that
// the kernel shows under /proc/PID/environ, which os.Unsetenv leaves as it is.
// It has to be called before anything else sets the variable: only then do the
// runtime's strings lie in that block, which is writable memory.
func wipeVariable(name string) {
	if value, ok := os.LookupEnv(name); ok && value != "" {
		clear(unsafe.Slice(unsafe.StringData(value), len(value)))
		os.Unsetenv(name)
	}
}
