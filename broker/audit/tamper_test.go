package audit

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// written makes a log of some files.
func written(t *testing.T, changes int, maxSize int64) string {
	t.Helper()
	dir := t.TempDir()
	l := open(t, Config{Dir: dir, MaxSize: maxSize})
	for range changes {
		change(t, l)
	}
	closeLog(t, l)
	wantWhole(t, dir)
	return dir
}

// splitLines parts a file into lines that keep their line feeds.
func splitLines(data []byte) [][]byte {
	all := bytes.SplitAfter(data, []byte("\n"))
	return all[:len(all)-1]
}

// TestTamperOneByte edits each byte of a small log, in turn.
func TestTamperOneByte(t *testing.T) {
	dir := written(t, 1, 0)
	path := onlyFile(t, dir)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		for _, with := range []byte{whole[i] ^ 1, whole[i] ^ 0x20, '\n'} {
			if with == whole[i] {
				continue
			}
			edited := bytes.Clone(whole)
			edited[i] = with
			if err := os.WriteFile(path, edited, 0o600); err != nil {
				t.Fatal(err)
			}
			if r := verify(t, dir); len(r.Problems) == 0 {
				t.Errorf("byte %d was made %q of %q, and Verify finds nothing", i, with, whole[i])
			}
		}
	}
}

// TestTamperCut cuts the log at each byte.
func TestTamperCut(t *testing.T) {
	dir := written(t, 2, 0)
	path := onlyFile(t, dir)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	for size := info.Size() - 1; size >= 0; size-- {
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		if r := verify(t, dir); len(r.Problems) == 0 {
			t.Errorf("the file was cut to %d of %d bytes, and Verify finds nothing", size, info.Size())
		}
	}
}

// TestTamperLines removes, swaps, repeats, moves and forges lines, over files too,
// and wants the place named.
func TestTamperLines(t *testing.T) {
	dir := written(t, 6, 0)
	data, err := os.ReadFile(onlyFile(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	forged := []byte(strings.Replace(string(splitLines(data)[4]), `"change"`, `"denied"`, 1))
	for name, c := range map[string]struct {
		edit func([][]byte) [][]byte
		want string
	}{
		"removed":         {func(l [][]byte) [][]byte { return slices.Delete(l, 4, 5) }, "line 5: line 5 is missing"},
		"three removed":   {func(l [][]byte) [][]byte { return slices.Delete(l, 4, 7) }, "line 5: lines 5 to 7 are missing"},
		"swapped":         {func(l [][]byte) [][]byte { l[4], l[5] = l[5], l[4]; return l }, "line 6: it was inserted or moved"},
		"repeated":        {func(l [][]byte) [][]byte { return slices.Insert(l, 5, l[4]) }, "line 6: it was inserted or moved"},
		"moved to end":    {func(l [][]byte) [][]byte { return append(slices.Delete(slices.Clone(l), 4, 5), l[4]) }, "inserted or moved"},
		"inserted":        {func(l [][]byte) [][]byte { return slices.Insert(l, 4, forged) }, "line 5: it was edited"},
		"edited":          {func(l [][]byte) [][]byte { l[4] = forged; return l }, "line 5: it was edited"},
		"first removed":   {func(l [][]byte) [][]byte { return l[1:] }, "line 1: it is not how a file begins"},
		"last removed":    {func(l [][]byte) [][]byte { return l[:len(l)-1] }, "line 15 is missing at the end"},
		"last removed, 3": {func(l [][]byte) [][]byte { return l[:len(l)-3] }, "lines 13 to 15 are missing at the end"},
		"all removed":     {func(l [][]byte) [][]byte { return nil }, "lines 1 to 15 are missing at the end"},
		"garbage":         {func(l [][]byte) [][]byte { return slices.Insert(l, 3, []byte("garbage\n")) }, "line 4: it is not as invectd writes it"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyLog(t, dir)
			edited := bytes.Join(c.edit(splitLines(data)), nil)
			if err := os.WriteFile(onlyFile(t, dir), edited, 0o600); err != nil {
				t.Fatal(err)
			}
			wantProblem(t, dir, c.want)
		})
	}
}

func TestTamperFiles(t *testing.T) {
	dir := written(t, 30, 4000)
	names, err := listFiles(filepath.Join(dir, folderName))
	if err != nil || len(names) < 4 {
		t.Fatalf("the files are %v, %v, want four at least", names, err)
	}
	for name, c := range map[string]struct {
		do   func(folder string) error
		want string
	}{
		"first removed":  {func(f string) error { return os.Remove(filepath.Join(f, names[0])) }, "the daemon did not remove them"},
		"second removed": {func(f string) error { return os.Remove(filepath.Join(f, names[1])) }, names[2] + ", line 1: lines"},
		"last removed":   {func(f string) error { return os.Remove(filepath.Join(f, names[len(names)-1])) }, "at the end"},
		"renamed":        {func(f string) error { return os.Rename(filepath.Join(f, names[1]), filepath.Join(f, fileName(2))) }, "the file has the name of another"},
		"swapped": {func(f string) error {
			a, b, c := filepath.Join(f, names[1]), filepath.Join(f, names[2]), filepath.Join(f, "c")
			return firstError(os.Rename(a, c), os.Rename(b, a), os.Rename(c, b))
		}, names[2] + ", line 1: it is line 18"},
		"head removed":  {func(f string) error { return os.Remove(filepath.Join(f, "..", headName)) }, "audit.head: it is missing"},
		"head overwrit": {func(f string) error { return os.WriteFile(filepath.Join(f, "..", headName), []byte("x"), 0o600) }, "was altered"},
		"an end cut": {func(f string) error {
			data, err := os.ReadFile(filepath.Join(f, names[1]))
			if err != nil {
				return err
			}
			all := splitLines(data)
			return os.WriteFile(filepath.Join(f, names[1]), bytes.Join(all[:len(all)-1], nil), 0o600)
		}, names[2] + ", line 1: line"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyLog(t, dir)
			if err := c.do(filepath.Join(dir, folderName)); err != nil {
				t.Fatal(err)
			}
			wantProblem(t, dir, c.want)
		})
	}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestTamperAtRandom does many things to a log of several files at once. Whatever
// is not what was written is found, also after the daemon went on with it.
func TestTamperAtRandom(t *testing.T) {
	rounds := 100
	if testing.Short() {
		rounds = 20
	}
	dir := written(t, 24, 4000)
	for range rounds {
		seed := rand.Uint64()
		random := rand.New(rand.NewPCG(seed, 0))
		dir := copyLog(t, dir)
		tamper(t, random, filepath.Join(dir, folderName))
		if r := verify(t, dir); len(r.Problems) == 0 {
			t.Fatalf("seed %d: Verify finds nothing", seed)
		}
		l := open(t, Config{Dir: dir})
		change(t, l)
		closeLog(t, l)
		if r := verify(t, dir); len(r.Problems) == 0 {
			t.Fatalf("seed %d: Verify finds nothing after the daemon went on", seed)
		}
	}
}

// tamper changes a file of a log in one way.
func tamper(t *testing.T, random *rand.Rand, folder string) {
	t.Helper()
	names, err := listFiles(folder)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, names[random.IntN(len(names))])
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := splitLines(data)
	i := random.IntN(len(all))
	switch random.IntN(5) {
	case 0:
		all[i] = bytes.Clone(all[i])
		all[i][random.IntN(len(all[i]))] ^= 1 << random.IntN(8)
	case 1:
		all = slices.Delete(all, i, i+1+random.IntN(len(all)-i))
	case 2:
		j := random.IntN(len(all) - 1)
		all[j], all[j+1] = all[j+1], all[j]
	case 3:
		all = slices.Insert(all, random.IntN(len(all)+1), all[i])
	case 4:
		all = [][]byte{data[:random.IntN(len(data))]}
	}
	if err := os.WriteFile(path, bytes.Join(all, nil), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestKeptElsewhere(t *testing.T) {
	dir := written(t, 3, 0)
	before := copyLog(t, dir)
	l := open(t, Config{Dir: dir})
	change(t, l)
	at := l.State()
	closeLog(t, l)
	kept, err := ParseKept(fmt.Sprintf("%d:%s", at.Line, at.MAC[:12]))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := Verify(dir, testKey, &kept); err != nil || len(r.Problems) > 0 {
		t.Errorf("Verify = %v, %v with what was kept of it", r.Problems, err)
	}
	if r, err := Verify(before, testKey, &kept); err != nil || len(r.Problems) != 1 {
		t.Errorf("Verify = %v, %v of an earlier state, head and all, want one problem", r.Problems, err)
	}
	if r, err := Verify(dir, bytes.Repeat([]byte{8}, keySize), nil); err != nil || len(r.Problems) == 0 {
		t.Errorf("Verify = %v, %v with another key, want problems", r.Problems, err)
	}
}

// FuzzChain has the judge read what is no log of ours. It must not take a line
// for genuine whose mac is not that of the key.
func FuzzChain(f *testing.F) {
	k, err := deriveKeys(testKey)
	if err != nil {
		f.Fatal(err)
	}
	whole, _, err := (&Line{Seq: 1, At: time.Unix(0, 0).UTC(), Event: EventBegun}).encode(k, link{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte("{}\n"))
	f.Add([]byte(`{"seq":1,"event":"begun","mac":"` + strings.Repeat("0", 64) + "\"}\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := chain{keys: k}
		line, found := c.check(raw, true)
		if found == nil && !bytes.Equal(raw, whole) && line.Event == EventBegun {
			t.Errorf("%q is taken for genuine", raw)
		}
	})
}
