package plugins_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/plugins"
)

// rescan looks at the folder until nothing goes on there, as the watch does, and
// returns what changed: "added a".
func rescan(t *testing.T, r *plugins.Registry) (changed []string) {
	t.Helper()
	for again := true; again; {
		var changes []broker.ProviderChange
		changes, again = r.Rescan(t.Context())
		for _, c := range changes {
			changed = append(changed, string(c.Status)+" "+c.ID)
		}
	}
	slices.Sort(changed)
	return changed
}

func problemsOf(r *plugins.Registry) (texts []string) {
	for _, p := range r.Problems() {
		texts = append(texts, p.What)
	}
	return texts
}

// settle makes a file look as if nobody had touched it for a while.
func settle(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		past := time.Now().Add(-time.Minute)
		if err := os.Chtimes(path, past, past); err != nil {
			t.Fatal(err)
		}
	}
}

// put writes a file whole and lets it rest.
func put(t *testing.T, dir, name, text string) {
	t.Helper()
	write(t, dir, name, text)
	settle(t, filepath.Join(dir, name))
}

func yamlOf(id, name string) string {
	return fmt.Sprintf("id: %s\nname: %s\nissuer: https://%s.example\n", id, name, name)
}

func wantChanges(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: Rescan told %q, want %q", what, got, want)
	}
}

// A step changes the folder, and says what comes of it.
type step struct {
	name    string
	do      func(t *testing.T, dir string)
	changed []string          // what is told
	inForce map[string]string // name by id, of all that come from files
	problem string            // a part of the only one; "" for none
}

func TestFilesComeAndGo(t *testing.T) {
	remove := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, name)) }
	}
	drop := func(name, text string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { put(t, dir, name, text) }
	}
	for _, test := range []struct {
		name  string
		used  []string
		steps []step
	}{
		{"dropped, changed, removed", nil, []step{
			{"dropped", drop("a.yaml", yamlOf("a", "one")), []string{"added a"}, map[string]string{"a": "one"}, ""},
			{"nothing", func(*testing.T, string) {}, nil, map[string]string{"a": "one"}, ""},
			{"changed", drop("a.yaml", yamlOf("a", "two")), []string{"changed a"}, map[string]string{"a": "two"}, ""},
			{"removed", remove("a.yaml"), []string{"removed a"}, nil, ""},
		}},
		{"removed while it is used", []string{"a"}, []step{
			{"dropped", drop("a.yaml", yamlOf("a", "one")), []string{"added a"}, map[string]string{"a": "one"}, ""},
			{"removed", remove("a.yaml"), []string{"gone a"}, map[string]string{"a": "one"}, "does not hold it"},
			{"back", drop("a.yaml", yamlOf("a", "two")), []string{"changed a"}, map[string]string{"a": "two"}, ""},
		}},
		{"broken and mended", nil, []step{
			{"dropped", drop("a.yaml", yamlOf("a", "one")), []string{"added a"}, map[string]string{"a": "one"}, ""},
			{"broken", drop("a.yaml", "id: a\nnam: x\n"), []string{"stale a"}, map[string]string{"a": "one"}, `a.yaml:2: there is no key "nam"`},
			{"emptied", drop("a.yaml", ""), []string{"changed a"}, map[string]string{"a": "one"}, "is empty"},
			{"removed", remove("a.yaml"), []string{"removed a"}, nil, ""},
		}},
		{"mended to what it was", nil, []step{
			{"dropped", drop("a.yaml", yamlOf("a", "one")), []string{"added a"}, map[string]string{"a": "one"}, ""},
			{"broken", drop("a.yaml", "{"), []string{"stale a"}, map[string]string{"a": "one"}, "a.yaml:1: is no YAML"},
			{"mended", drop("a.yaml", yamlOf("a", "one")), []string{"changed a"}, map[string]string{"a": "one"}, ""},
		}},
		{"a second file with the id", nil, []step{
			{"first", drop("b.yaml", yamlOf("a", "first")), []string{"added a"}, map[string]string{"a": "first"}, ""},
			{"second", drop("a.yaml", yamlOf("a", "second")), nil, map[string]string{"a": "first"}, "b.yaml already"},
			{"the first goes", remove("b.yaml"), []string{"changed a"}, map[string]string{"a": "second"}, ""},
		}},
		{"renamed", []string{"a"}, []step{
			{"dropped", drop("a.yaml", yamlOf("a", "one")), []string{"added a"}, map[string]string{"a": "one"}, ""},
			{"renamed", func(t *testing.T, dir string) {
				os.Rename(filepath.Join(dir, "a.yaml"), filepath.Join(dir, "z.yaml"))
			}, nil, map[string]string{"a": "one"}, ""},
		}},
		{"another id in the same file", []string{"a"}, []step{
			{"dropped", drop("a.yaml", yamlOf("a", "one")), []string{"added a"}, map[string]string{"a": "one"}, ""},
			{"another", drop("a.yaml", yamlOf("b", "two")), []string{"added b", "gone a"}, map[string]string{"a": "one", "b": "two"}, "a.yaml does not hold it any more"},
		}},
		{"a config map is swapped", nil, []step{
			{"mounted", func(t *testing.T, dir string) {
				mount(t, dir, "..1", "one")
				os.Symlink("..1", filepath.Join(dir, "..data"))
				os.Symlink("..data/a.yaml", filepath.Join(dir, "a.yaml"))
			}, []string{"added a"}, map[string]string{"a": "one"}, ""},
			{"swapped", func(t *testing.T, dir string) {
				mount(t, dir, "..2", "two")
				os.Symlink("..2", filepath.Join(dir, "..tmp"))
				os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data"))
			}, []string{"changed a"}, map[string]string{"a": "two"}, ""},
		}},
		{"what others can write", nil, []step{
			{"dropped", drop("a.yaml", yamlOf("a", "one")), []string{"added a"}, map[string]string{"a": "one"}, ""},
			{"the file", func(t *testing.T, dir string) { os.Chmod(filepath.Join(dir, "a.yaml"), 0o666) },
				[]string{"stale a"}, map[string]string{"a": "one"}, "a.yaml (mode 0666): chmod go-w it"},
			{"mended", func(t *testing.T, dir string) { os.Chmod(filepath.Join(dir, "a.yaml"), 0o600) },
				[]string{"changed a"}, map[string]string{"a": "one"}, ""},
			{"the folder", func(t *testing.T, dir string) { os.Chmod(dir, 0o777); os.Remove(filepath.Join(dir, "a.yaml")) },
				nil, map[string]string{"a": "one"}, "(mode 0777): chmod go-w it"},
			{"mended", func(t *testing.T, dir string) { os.Chmod(dir, 0o700) }, []string{"removed a"}, nil, ""},
		}},
		{"the folder goes and comes", []string{"a"}, []step{
			{"dropped", func(t *testing.T, dir string) {
				put(t, dir, "a.yaml", yamlOf("a", "one"))
				put(t, dir, "b.yaml", yamlOf("b", "one"))
			}, []string{"added a", "added b"}, map[string]string{"a": "one", "b": "one"}, ""},
			{"goes", func(t *testing.T, dir string) { os.Rename(dir, dir+"-") }, []string{"gone a", "removed b"}, map[string]string{"a": "one"}, "does not hold it"},
			{"comes", func(t *testing.T, dir string) { os.Rename(dir+"-", dir) }, []string{"added b", "changed a"}, map[string]string{"a": "one", "b": "one"}, ""},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, store := filepath.Join(t.TempDir(), "providers"), newMemory()
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			config := plugins.Config{Store: store, Dir: dir, InUse: func(id string) bool { return slices.Contains(test.used, id) }}
			r, _ := openFolder(t, config)
			rescan(t, r)
			for _, step := range test.steps {
				step.do(t, dir)
				wantChanges(t, step.name, rescan(t, r), step.changed...)
				step.check(t, r)
				// The same holds for a process that starts here.
				after, _ := openFolder(t, config)
				rescan(t, after)
				step.check(t, after)
			}
		})
	}
}

func (s step) check(t *testing.T, r *plugins.Registry) {
	t.Helper()
	count := 0
	for _, d := range r.Definitions() {
		if d.Source != broker.SourceFile {
			continue
		}
		if count++; s.inForce[d.ID] != d.Name {
			t.Errorf("%s: %s is %q, want %q", s.name, d.ID, d.Name, s.inForce[d.ID])
		}
	}
	problems := problemsOf(r)
	if count != len(s.inForce) {
		t.Errorf("%s: %d definitions from files, want %v", s.name, count, s.inForce)
	}
	if (len(problems) == 0) != (s.problem == "") || len(problems) > 1 || !strings.Contains(strings.Join(problems, ""), s.problem) {
		t.Errorf("%s: Problems() = %q, want %q", s.name, problems, s.problem)
	}
}

func mount(t *testing.T, dir, version, name string) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, version), "a.yaml", yamlOf("a", name))
}

// TestHalfWritten: what is being written is not read, though it would pass.
func TestHalfWritten(t *testing.T) {
	dir := t.TempDir()
	r, _ := openFolder(t, plugins.Config{Store: newMemory(), Dir: dir})
	put(t, dir, "a.yaml", yamlOf("a", "one"))
	rescan(t, r)
	write(t, dir, "a.yaml", "id: a\nname: half\nissuer: https://half.example\n")
	if changed, again := r.Rescan(t.Context()); len(changed) > 0 || !again {
		t.Errorf("Rescan in the middle of a write = %v, again %v, want nothing but another look", changed, again)
	}
	expect(t, r, "a", "one", broker.SourceFile)
	settle(t, filepath.Join(dir, "a.yaml"))
	wantChanges(t, "once it is left alone", rescan(t, r), "changed a")
	expect(t, r, "a", "half", broker.SourceFile)
}

// TestKeptWhileTheStoreFails: a definition that cannot be kept is in force all the
// same, is told, and is kept as soon as it can be.
func TestKeptWhileTheStoreFails(t *testing.T) {
	dir, store := t.TempDir(), newMemory()
	r, _ := openFolder(t, plugins.Config{Store: store, Dir: dir})
	put(t, dir, "a.yaml", yamlOf("a", "one"))
	store.setFail(errors.New("the disk is full"))
	changed, again := r.Rescan(t.Context())
	if problems := problemsOf(r); len(changed) != 1 || !again || len(problems) != 1 || !strings.Contains(problems[0], "the disk is full") {
		t.Errorf("Rescan = %v, again %v, with the problems %q, want one of each", changed, again, problems)
	}
	store.setFail(nil)
	rescan(t, r)
	if kept, err := store.KeptDefinitions(t.Context()); len(kept) != 1 || err != nil || problemsOf(r) != nil {
		t.Errorf("KeptDefinitions = %v, %v with the problems %q, want one and none", kept, err, problemsOf(r))
	}
}

// TestDeleteGone: what only credentials hold on to can be let go of.
func TestDeleteGone(t *testing.T) {
	dir, store := t.TempDir(), newMemory()
	r, _ := openFolder(t, plugins.Config{Store: store, Dir: dir, InUse: func(string) bool { return true }})
	put(t, dir, "both.yaml", yamlOf("both", "file")+"override: true\n")
	rescan(t, r)
	if err := r.Delete(t.Context(), "both"); !errors.Is(err, broker.ErrConflict) {
		t.Errorf("Delete while the file is there = %v, want ErrConflict", err)
	}
	os.Remove(filepath.Join(dir, "both.yaml"))
	rescan(t, r)
	expect(t, r, "both", "file", broker.SourceFile)
	if err := r.Delete(t.Context(), "both"); err != nil {
		t.Errorf("Delete = %v", err)
	}
	expect(t, r, "both", "two", broker.SourceBuiltin)
	if kept, _ := store.KeptDefinitions(t.Context()); len(kept) > 0 {
		t.Errorf("KeptDefinitions = %v, want none", kept)
	}
}

// TestReadersSeeOldOrNew: two definitions that change together are never seen
// apart, and never missing.
func TestReadersSeeOldOrNew(t *testing.T) {
	dir := t.TempDir()
	r, _ := openFolder(t, plugins.Config{Store: newMemory(), Dir: dir})
	both := func(name string) {
		put(t, dir, "a.yaml", yamlOf("a", name))
		put(t, dir, "b.yaml", yamlOf("b", name))
		rescan(t, r)
	}
	both("0")
	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for ctx.Err() == nil {
				names := map[string]bool{}
				for _, d := range r.Definitions() {
					if d.Source == broker.SourceFile {
						names[d.ID], names[d.Name] = true, true
					}
				}
				if len(names) != 3 { // a, b and the one name
					t.Errorf("Definitions() has %v, want a and b of one name", names)
					return
				}
			}
		})
	}
	for n := range 50 {
		both(fmt.Sprint("n", n))
	}
	stop()
	readers.Wait()
}
