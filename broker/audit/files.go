package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const extension = ".jsonl"

// fileName is that of the file whose first line has a number.
func fileName(first uint64) string { return fmt.Sprintf("%016d%s", first, extension) }

// firstLine is the number of the first line of a file, by its name.
func firstLine(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, extension)
	first, err := strconv.ParseUint(digits, 10, 64)
	return first, ok && err == nil && first > 0 && fileName(first) == name
}

// listFiles returns the names of a log's files, the oldest first.
func listFiles(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		if _, ok := firstLine(entry.Name()); ok {
			names = append(names, entry.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// makeRoom sees to it that there is a file with room for a line. l.mu is held.
func (l *Log) makeRoom() error {
	if l.file != nil {
		if l.size < l.config.MaxSize && time.Since(l.begun) < l.config.MaxAge {
			return nil
		}
		err := l.file.Sync()
		if err == nil {
			l.reached(l.last.seq)
		}
		l.abandon()
		if err != nil {
			return err
		}
		l.tell()
	}
	if err := l.beginFile(); err != nil {
		l.abandon()
		return err
	}
	if err := l.prune(); err != nil {
		l.config.Log.Error("old files of the audit log cannot be removed", "error", err)
	}
	return nil
}

// beginFile makes a file and writes its first line.
func (l *Log) beginFile() (err error) {
	folder := l.config.folder()
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	if l.head == nil {
		if l.head, err = openHead(filepath.Join(l.config.Dir, headName), l.keys); err != nil {
			return err
		}
	}
	path := filepath.Join(folder, fileName(l.last.seq+1))
	// One that is there holds no line of this log, or the last line would be
	// another. It is kept for whoever wants to know where it came from.
	if info, err := os.Lstat(path); err == nil && info.Size() > 0 {
		if err := os.Rename(path, path+".stray"); err != nil {
			return err
		}
	}
	l.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	l.size, l.begun = 0, time.Now()
	first := &Line{Event: EventBegun}
	if l.last.seq > 0 {
		first = &Line{Event: EventContinued, Follows: l.last.mac.String()}
	}
	if err := l.put(first); err != nil {
		return err
	}
	return errors.Join(l.head.file.Sync(), syncFolder(folder, l.config.Dir))
}

// abandon closes the file, so that another is begun with the next line.
func (l *Log) abandon() {
	if l.file != nil {
		_ = l.file.Close() // what matters of it is on disk, or is told as lost
	}
	l.file = nil
}

// prune removes the oldest files, after it was told in a line that is on disk.
func (l *Log) prune() error {
	names, err := listFiles(l.config.folder())
	if err != nil || len(names) <= l.config.Keep {
		return err
	}
	old := names[:len(names)-l.config.Keep]
	before, _ := firstLine(names[len(old)])
	if err := l.put(&Line{Event: EventPruned, Before: before}); err != nil {
		return err
	}
	if err := l.file.Sync(); err != nil {
		return err
	}
	l.reached(l.last.seq)
	for _, name := range old {
		err = errors.Join(err, os.Remove(filepath.Join(l.config.folder(), name)))
	}
	return err
}

// look sees whether the files are still where they were put: what is written to
// one that was removed is lost. l.mu is not held.
func (l *Log) look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil || l.head == nil {
		return
	}
	var notes []string
	path := l.file.Name()
	if info, err := os.Stat(path); err != nil || !sameFile(l.file, info) || info.Size() != l.size {
		l.abandon()
		notes = append(notes, path+" was removed, replaced or cut while it was written to")
	}
	path = filepath.Join(l.config.Dir, headName)
	if info, err := os.Stat(path); err != nil || !sameFile(l.head.file, info) {
		_ = l.head.file.Close() // it is nobody's any more
		l.head = nil
		l.abandon()
		notes = append(notes, path+" was removed or replaced while it was written to")
	}
	for _, note := range notes {
		l.altered = true
		l.config.Log.Error("somebody meddles with the audit log", "detail", note)
		_ = l.write(&Line{Event: EventMended, Detail: note}) // it is told where it fails
	}
}

func sameFile(f *os.File, info fs.FileInfo) bool {
	own, err := f.Stat()
	return err == nil && os.SameFile(own, info)
}

// syncFolder waits until the names in folders are on disk.
func syncFolder(folders ...string) error {
	for _, folder := range folders {
		f, err := os.Open(folder)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}
