package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// recover finds where to go on, and opens the newest file where it ends as it
// was left. Where it does not, or anything else is odd, a new file is begun, whose
// first line holds fast where that was. It returns the lines that say so.
func (l *Log) recover() (notes []*Line) {
	note := func(format string, args ...any) *Line {
		n := &Line{Event: EventMended, Detail: fmt.Sprintf(format, args...)}
		notes = append(notes, n)
		return n
	}
	told, known, err := readHead(filepath.Join(l.config.Dir, headName), l.keys)
	if err != nil {
		note("the head: %v", err)
	}
	names, err := listFiles(l.config.folder())
	if err != nil {
		note("the folder cannot be read: %v", err)
	}
	newest, end := l.newest(names)
	if end.err != nil {
		note("%s: %v", newest, end.err)
	}
	l.last = end.last
	if !known && len(names) > 0 && err == nil {
		note("%s is missing", headName)
	}
	if l.config.Anchor != nil {
		anchored, err := l.anchored()
		if err != nil {
			note("what the store knows of it: %v", err)
		}
		if anchored.seq > told.last.seq {
			told, known = mark{anchored, anchored.seq}, true
		}
	}
	switch {
	case known && told.last.seq > end.last.seq:
		g := gap{end.last.seq + 1, told.last.seq}
		n := note("%s", g)
		if g.from > told.synced {
			n.Of, n.Before = g.from, g.to+1
			n.Detail += ", which were not on disk yet when the daemon ended"
		}
		l.last = told.last
	case known && told.last.seq == end.last.seq && told.last.mac != end.last.mac:
		note("line %d was edited", told.last.seq)
		l.last = told.last
	}
	l.synced.Store(min(told.synced, l.last.seq))
	l.altered = slices.ContainsFunc(notes, func(n *Line) bool { return n.Of == 0 })
	if newest == "" || l.altered {
		return notes // a new file is begun, and the others are left as they are
	}
	path, goOn := filepath.Join(l.config.folder(), newest), len(notes) == 0
	if end.torn > 0 {
		note("%d bytes at the end of %s were no whole line, and are removed: the daemon died as it wrote them", end.torn, newest)
		if err := os.Truncate(path, end.size); err != nil {
			note("%v", err)
			return notes
		}
	}
	if goOn {
		if err := l.reopen(path, end); err != nil {
			note("%v", err)
		}
	}
	return notes
}

// newest returns the last file that holds a line; a crash may have left one after
// it that holds none. There is no name where there is no line.
func (l *Log) newest(names []string) (string, fileEnd) {
	for _, name := range slices.Backward(names) {
		end := l.readEnd(filepath.Join(l.config.folder(), name))
		if end.size > 0 || end.err != nil {
			return name, end
		}
	}
	return "", fileEnd{}
}

// A fileEnd is what was found at the end of a file.
type fileEnd struct {
	last  link
	size  int64 // without what is torn
	torn  int   // bytes
	begun time.Time
	err   error // what is wrong with a line before the end
}

// readEnd reads a file in full, since the mac of the last line says something
// only with those before.
func (l *Log) readEnd(path string) (end fileEnd) {
	c := chain{keys: l.keys}
	number := 0
	for raw, err := range rawLines(path) {
		if errors.Is(err, errTorn) {
			end.torn = len(raw)
			break
		}
		if err != nil {
			end.err = err
			break
		}
		number++
		line, found := c.check(raw, number == 1)
		if found != nil && end.err == nil {
			end.err = fmt.Errorf("line %d of the file: %s", number, found.what)
		}
		if number == 1 {
			end.begun = line.At
		}
		end.size += int64(len(raw))
	}
	end.last = c.last
	return end
}

// reopen goes on in a file.
func (l *Log) reopen(path string, end fileEnd) (err error) {
	l.head, err = openHead(filepath.Join(l.config.Dir, headName), l.keys)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	l.file, l.size, l.begun = f, end.size, end.begun
	return nil
}
