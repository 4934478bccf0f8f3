package store

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/invectd/invectd/broker"
)

// reserve is the free space below which nothing is written: what Badger may need
// for a flush and a compaction that began before. It maps its files, and writing
// to a mapping that the disk has no room for kills the process. Of a small file
// system it is a quarter.
const reserve = 32 << 20

// checkSpace returns an error wrapping [broker.ErrStoreUnavailable] where the
// file system of dir is too full, or mounted read-only.
func checkSpace(dir string) error {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return fmt.Errorf("%w: asking for the free space of %s: %w", broker.ErrStoreUnavailable, dir, err)
	}
	const readOnly = 1 // ST_RDONLY of statfs(2)
	if stat.Flags&readOnly != 0 {
		return fmt.Errorf("%w: the file system of %s is read-only", broker.ErrStoreUnavailable, dir)
	}
	free, total := stat.Bavail*uint64(stat.Bsize), stat.Blocks*uint64(stat.Bsize)
	if need := min(reserve, total/4); free < need {
		return fmt.Errorf("%w: the file system of %s has %d MiB free and %d are needed: make room", broker.ErrStoreUnavailable, dir, free>>20, need>>20)
	}
	return nil
}

// keepAllocated looks after Badger's logs, of which it begins new ones, before
// that many bytes more are written. Only the committer calls it.
func (db *DB) keepAllocated(bytes int) error {
	const step = 1 << 20
	db.unallocated += bytes
	if db.unallocated < step {
		return nil
	}
	if err := preallocate(db.records()); err != nil {
		return err
	}
	db.unallocated = 0
	return nil
}

// preallocate takes the disk space of Badger's logs, which are sparse, so that
// writing to them cannot fail for the lack of it.
func preallocate(records string) error {
	logs, err := filepath.Glob(filepath.Join(records, "*.mem"))
	if err != nil {
		return err
	}
	for _, path := range logs {
		if err := preallocateFile(path); err != nil {
			return fmt.Errorf("%w: reserving space for %s: %w", broker.ErrStoreUnavailable, path, err)
		}
	}
	return nil
}

func preallocateFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if os.IsNotExist(err) { // flushed and removed meanwhile
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	const keepSize = 1 // FALLOC_FL_KEEP_SIZE of fallocate(2)
	err = syscall.Fallocate(int(f.Fd()), keepSize, 0, memTableSize+maxRecordSize+maxBatchBytes)
	if err == syscall.EOPNOTSUPP {
		return nil
	}
	return err
}

// untrimmed is how Badger, opened to be read, refuses a log that a process which
// was killed has not cut off where its entries end.
var untrimmed = regexp.MustCompile(`while opening fid: (\d+)\b.*\bend offset: (\d+) < size: \d+`)

// trimLog cuts such a log off as Badger would if it were opened to be written,
// which a full disk does not allow, and reports whether it did. It takes no space
// and gives some back.
func trimLog(records string, err error) bool {
	match := untrimmed.FindStringSubmatch(strings.ReplaceAll(err.Error(), "\n", " ")) // Badger does not wrap
	if match == nil {
		return false
	}
	number, _ := strconv.Atoi(match[1]) // digits
	end, err := strconv.ParseInt(match[2], 10, 64)
	return err == nil && os.Truncate(filepath.Join(records, fmt.Sprintf("%05d.mem", number)), end) == nil
}
