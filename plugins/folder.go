package plugins

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/invectd/invectd/broker"
)

// A folder is what is known of the files of --providers-dir. All is guarded by
// [Registry.changes].
type folder struct {
	dir     string
	scanned bool             // at least once
	files   map[string]*file // by path, or by path and id where a file left one behind
	problem problem          // of the folder as a whole
}

// A file is what is known of one file, from one look to the next.
type file struct {
	path string
	at   stamp // when it was read last
	read reading
	good *broker.Definition // the last one that was in force; nil if none was
	// missing counts the looks that did not find the file. One does not count: a
	// folder may be listed in the middle of a rename.
	missing int
	problem problem
}

// A reading is what a file held when it was read.
type reading struct {
	done       bool // not set of a file that was being written whenever it was looked at
	definition broker.Definition
	lines      lines
	err        error
}

// A problem remembers since when something is wrong.
type problem struct {
	err   error
	since time.Time
}

// note takes down what was found, and reports whether that is news.
func (p *problem) note(err error, now time.Time) (news bool) {
	switch {
	case err == nil:
		news = p.err != nil
		*p = problem{}
	case p.err == nil:
		news = true
		*p = problem{err, now}
	default:
		news = p.err.Error() != err.Error()
		p.err = err
	}
	return news
}

// text is the first of the errors, and how many more there are.
func (p *problem) text() string {
	first, rest, _ := strings.Cut(p.err.Error(), "\n")
	if rest != "" {
		first += fmt.Sprintf(" (and %d more)", strings.Count(rest, "\n")+1)
	}
	return first
}

// vanished is after how many looks that did not find it a file is believed gone.
const vanished = 2

func (f *file) gone() bool { return f.missing >= vanished }

// scan looks at all files, and reads those that changed. It reports whether one
// should be looked at again soon.
func (d *folder) scan(now time.Time, check checkFunc) (again bool, err error) {
	paths, err := listFolder(d.dir)
	if err != nil {
		return false, err
	}
	for _, f := range d.files {
		if _, found := slices.BinarySearch(paths, f.path); !found {
			f.missing++
			f.problem.note(nil, now)
			again = again || !f.gone()
		}
	}
	for _, path := range paths {
		f, ok := d.files[path]
		if !ok {
			f = &file{path: path}
			d.files[path] = f
		}
		f.missing = 0
		again = f.look(now, check, d.scanned) || again
	}
	d.scanned = true
	return again, nil
}

// look reads the file if it changed, and reports whether it is being written.
// At start, when patient is not set, what is there is better than nothing.
func (f *file) look(now time.Time, check checkFunc, patient bool) (again bool) {
	if info, err := os.Stat(f.path); err == nil {
		at := stampOf(info)
		if at == f.at {
			return false
		}
		if patient && !at.settled(now) {
			return true
		}
	}
	d, lines, at, err := readDefinition(f.path, check)
	switch {
	case errors.Is(err, errUnsettled):
		return true
	case errors.Is(err, fs.ErrNotExist): // vanished since, or a link to nothing
		at = stamp{}
	}
	f.at, f.read = at, reading{true, d, lines, err}
	return false
}

// ordered returns the files in the order in which they get their ids: those that
// have one in force first, then by path.
func (d *folder) ordered() []*file {
	all := make([]*file, 0, len(d.files))
	for _, f := range d.files {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b *file) int {
		if first, second := a.holds(), b.holds(); first != second {
			if first {
				return -1
			}
			return 1
		}
		return strings.Compare(a.path, b.path)
	})
	return all
}

// orphan parts a file from the definition that it had in force, where it has
// another provider's now: for that one it is as if the file had vanished.
func (d *folder) orphan(f *file) []*file {
	if f.good == nil || f.good.ID == f.read.definition.ID {
		return nil
	}
	return []*file{d.add(f.path, f.good)}
}

// add takes up a definition that a file held. The first of a path is taken for
// the present one, until the file was read.
func (d *folder) add(path string, good *broker.Definition) *file {
	f, key := &file{path: path, good: good}, path
	if _, taken := d.files[path]; taken {
		key, f.missing = path+" "+good.ID, vanished
	}
	d.files[key] = f
	return f
}

// holds reports whether what the file says now is about the provider that it has
// in force.
func (f *file) holds() bool {
	return f.missing == 0 && f.read.done && f.read.err == nil && f.good != nil && f.good.ID == f.read.definition.ID
}
