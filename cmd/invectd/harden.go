package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

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

// wipeVariable removes a variable from the environment, and overwrites its value
// in the block that the kernel shows under /proc/PID/environ, which os.Unsetenv
// leaves as it is. It has to come before [harden], after which a process may not
// write to its own memory by way of the kernel.
func wipeVariable(name string) error {
	if _, ok := os.LookupEnv(name); !ok {
		return nil
	}
	if err := errors.Join(overwriteVariable(name), os.Unsetenv(name)); err != nil {
		return fmt.Errorf("wiping %s from the environment: %w", name, err)
	}
	return nil
}

func overwriteVariable(name string) error {
	start, end, err := environmentBlock()
	if err != nil {
		return err
	}
	memory, err := os.OpenFile("/proc/self/mem", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer memory.Close()
	block := make([]byte, end-start)
	if _, err := memory.ReadAt(block, start); err != nil {
		return err
	}
	defer clear(block)
	for at := int64(0); at < int64(len(block)); {
		entry, _, _ := bytes.Cut(block[at:], []byte{0})
		if bytes.HasPrefix(entry, []byte(name+"=")) {
			value := int64(len(name)) + 1
			if _, err := memory.WriteAt(make([]byte, int64(len(entry))-value), start+at+value); err != nil {
				return err
			}
		}
		at += int64(len(entry)) + 1
	}
	return nil
}

// environmentBlock returns where the kernel put the environment of this process:
// env_start and env_end of proc_pid_stat(5), the 50th and 51st field.
func environmentBlock() (start, end int64, err error) {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0, 0, err
	}
	// The second field is a name in parentheses that may hold spaces.
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 49 {
		return 0, 0, errors.New("/proc/self/stat has too few fields")
	}
	start, err1 := strconv.ParseInt(fields[47], 10, 64)
	end, err2 := strconv.ParseInt(fields[48], 10, 64)
	if err := errors.Join(err1, err2); err != nil || start <= 0 || end < start {
		return 0, 0, errors.New("/proc/self/stat does not tell where the environment lies")
	}
	return start, end, nil
}
