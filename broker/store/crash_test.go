package store

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"

	"github.com/invectd/invectd/broker"
)

const (
	crashDir     = "STORE_CRASH_DIR"                              // set in the child that is killed
	crashKey     = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=" // as testKey(t, 7)
	crashWriters = 8
)

func TestMain(m *testing.M) {
	syncWrites = os.Getenv(unsynced) == ""
	for variable, run := range map[string]func(dir string) error{crashDir: writeUntilKilled, readDir: readAll} {
		dir := os.Getenv(variable)
		if dir == "" {
			continue
		}
		if err := run(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// writeUntilKilled counts credentials up from several goroutines and prints what
// was acknowledged, one line each.
func writeUntilKilled(dir string) error {
	key, err := ParseKey(crashKey)
	if err != nil {
		return err
	}
	db, err := Open(Config{Dir: dir, Key: key})
	if err != nil {
		return err
	}
	for n := range crashWriters {
		_, err := db.Create(context.Background(), broker.Credential{Summary: broker.Summary{ID: crashID(n)}})
		if err != nil && !errors.Is(err, broker.ErrConflict) {
			return err
		}
	}
	failed := make(chan error)
	for n := range crashWriters {
		go func() {
			for {
				c, err := db.Update(context.Background(), crashID(n), func(c *broker.Credential) error { c.ReadCount++; return nil })
				if err != nil {
					failed <- err
				}
				fmt.Printf("%d %d\n", n, c.ReadCount)
			}
		}()
	}
	return <-failed
}

func crashID(n int) broker.ID { return broker.ID(fmt.Sprint("counter-", n)) }

// SIGKILL at any moment loses no acknowledged write, and the next start works.
func TestKill(t *testing.T) {
	rounds := killRounds(t)
	dir := t.TempDir()
	for round := range rounds {
		acknowledged := killAfter(t, dir, 50+rand.IntN(600))
		db := open(t, dir)
		for n, want := range acknowledged {
			c, err := db.Get(t.Context(), crashID(n))
			if err != nil || c.ReadCount < want || c.Revision != c.ReadCount+1 {
				t.Errorf("round %d: %s = %d at revision %d, %v, want at least %d", round, crashID(n), c.ReadCount, c.Revision, err, want)
			}
		}
		closeStore(t, db)
	}
}

// killRounds is 10 unless the variable KILL_ROUNDS says how many.
func killRounds(t *testing.T) int {
	t.Helper()
	if testing.Short() {
		return 1
	}
	text := cmp.Or(os.Getenv("KILL_ROUNDS"), "10")
	rounds, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("KILL_ROUNDS: %v", err)
	}
	return rounds
}

// killAfter kills a writing child once that many writes were acknowledged, and
// returns the last acknowledged count of each writer.
func killAfter(t *testing.T, dir string, lines int) []uint64 {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), crashDir+"="+dir)
	child.Stderr = t.Output()
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	acknowledged := make([]uint64, crashWriters)
	var kill sync.Once
	for scanner := bufio.NewScanner(out); scanner.Scan(); lines-- {
		var n int
		var count uint64
		if _, err := fmt.Sscan(scanner.Text(), &n, &count); err != nil {
			break // a line cut short by the kill
		}
		acknowledged[n] = max(acknowledged[n], count)
		if lines <= 0 {
			kill.Do(func() { child.Process.Kill() })
		}
	}
	if err := child.Wait(); err == nil || lines > 0 {
		t.Fatalf("the child ended by itself: %v", err)
	}
	return acknowledged
}
