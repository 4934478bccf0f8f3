package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/invectd/invectd/broker"
)

const (
	readDir  = "STORE_READ_DIR" // set in the child that reads a damaged store
	unharmed = "read all"
	noticed  = "noticed: "
	flips    = 500 // over all files in turn
)

// readAll prints every counter of a store, or what is wrong with it.
func readAll(dir string) error {
	key, err := ParseKey(crashKey)
	if err != nil {
		return err
	}
	db, err := Open(Config{Dir: dir, Key: key})
	if err != nil {
		fmt.Println(noticed, err)
		return nil
	}
	for n := range crashWriters {
		c, err := db.Get(context.Background(), crashID(n))
		if _, ok := errors.AsType[*DamagedError](err); ok {
			fmt.Println(noticed, err)
			return nil
		}
		if err != nil {
			return err // not found: lost without a word
		}
		fmt.Println(c.ID, c.ReadCount, c.Revision)
	}
	fmt.Println(unharmed)
	return db.Close()
}

// One flipped bit anywhere changes nothing or is noticed: no value is altered
// and none is silently absent, and the process does not crash over it: a child
// reads, since what Badger's goroutines panic with cannot be recovered. What is
// both in Badger's log and in the journal is repaired.
func TestFlippedBits(t *testing.T) {
	dir := t.TempDir()
	for _, lines := range []int{2000, 200} { // tables, then a log
		killAfter(t, dir, lines)
		closeStore(t, open(t, dir))
	}
	db := open(t, dir)
	for n := range 200 {
		if _, err := db.Update(t.Context(), crashID(n%crashWriters), func(c *broker.Credential) error { c.ReadCount++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	dir = copyOf(t, dir) // as if it were killed now, with no write under way
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	want, err := readInChild(t, copyOf(t, dir))
	if err != nil || !strings.Contains(want, unharmed) {
		t.Fatalf("reading the undamaged store: %v\n%s", err, want)
	}
	files := slices.DeleteFunc(filesOf(t, dir), func(file string) bool {
		data, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		return len(bytes.Trim(data, "\x00")) == 0 // nothing is in it to be hit
	})
	count, hits := flips, map[string]int{} // flips that were noticed, by file
	if testing.Short() {
		count = len(files)
	}
	alike := 0
	for n := range count {
		file := files[n%len(files)]
		damaged := copyOf(t, dir)
		at := flipBit(t, filepath.Join(damaged, file), random)
		got, err := readInChild(t, damaged)
		if err != nil || got != want && !strings.Contains(got, noticed) {
			t.Errorf("with byte %d of %s changed: %v\n%s", at, file, err, got)
		}
		if repaired := got == want; !repaired && (filepath.Ext(file) == ".mem" || strings.HasPrefix(file, journalFile)) {
			t.Errorf("with byte %d of %s changed, what is there twice is not repaired:\n%s", at, file, got)
		}
		if got == want {
			alike++
		} else {
			hits[file]++
		}
		if err := os.RemoveAll(damaged); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d flips in %d files: %d changed nothing that is read, all others were noticed: %v", count, len(files), alike, hits)
}

func readInChild(t *testing.T, dir string) (string, error) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	// The race detector would have each child wait a second for late reports.
	child.Env = append(os.Environ(), readDir+"="+dir, "GORACE=atexit_sleep_ms=0")
	out, err := child.CombinedOutput()
	return string(out), err
}

// copyOf returns a copy of a folder as it was at one instant: of an open store,
// none from while Badger merges its tables.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	manifest := func() string {
		data, err := os.ReadFile(filepath.Join(dir, "records", badger.ManifestFilename))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return string(data)
	}
	for {
		before := manifest()
		to, err := tryCopy(t, dir)
		switch still := manifest() == before; {
		case err == nil && still:
			return to
		case err != nil && still && !errors.Is(err, fs.ErrNotExist): // a table that was merged into others is removed a little later
			t.Fatal(err)
		}
	}
}

func tryCopy(t *testing.T, dir string) (string, error) {
	t.Helper()
	to := t.TempDir()
	for _, file := range filesOf(t, dir) {
		data, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			return "", err
		}
		path := filepath.Join(to, file)
		err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, bytes.TrimRight(data, "\x00"), 0o600), os.Truncate(path, int64(len(data))))
		if err != nil {
			return "", err
		}
	}
	return to, nil
}

func filesOf(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// flipBit flips a bit of a byte that is not zero: most of the files is.
func flipBit(t *testing.T, path string, random *rand.Rand) (at int) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var used []int
	for i, b := range data {
		if b != 0 {
			used = append(used, i)
		}
	}
	at = used[random.IntN(len(used))]
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte{data[at] ^ 1<<random.IntN(8)}, int64(at))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return at
}
