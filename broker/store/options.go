package store

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// memTableSize bounds what lies in Badger's memory and log before it goes to a
// table. 15 % of it is what one transaction takes.
const memTableSize = 8 << 20

// blockSize is that of a table's blocks, which are read and checked as one.
const blockSize = 4 << 10

// syncWrites is off only in the test that shows what is lost without it.
var syncWrites = true

// badgerOptions fits Badger, made for servers, to a sidecar. Both caches must
// not be zero: with encryption Badger panics without the first, at once, and
// without the second, later.
func badgerOptions(folder string, keys *rootKeys, log *slog.Logger) badger.Options {
	return badger.DefaultOptions(folder).
		WithEncryptionKey(keys.Badger). // a veil over kinds, sizes and ids
		WithSyncWrites(syncWrites).
		WithNumVersionsToKeep(1).
		WithDetectConflicts(false). // one committer
		WithMetricsEnabled(false).
		// The store's own lock keeps others out. Badger's would be held on by a
		// child that is forked in the moment between two openings.
		WithBypassLockGuard(true).
		WithCompression(options.None).
		WithValueThreshold(1 << 20). // above maxRecordSize: the value log stays empty
		WithValueLogFileSize(1 << 20).
		WithMemTableSize(memTableSize).
		WithBlockSize(blockSize).
		WithNumMemtables(2).
		WithBaseTableSize(4 << 20).
		WithNumLevelZeroTables(2).
		WithNumLevelZeroTablesStall(6).
		WithNumCompactors(2).
		WithBlockCacheSize(16 << 20).
		WithIndexCacheSize(16 << 20).
		WithLogger(badgerLog{log})
}

// badgerLog passes on what Badger says. It knows keys, which are digests, and
// sizes, and prints no values.
type badgerLog struct{ log *slog.Logger }

func (l badgerLog) Errorf(format string, args ...any) {
	l.log.Warn("badger", "says", says(format, args))
}

func (l badgerLog) Warningf(format string, args ...any) {
	l.log.Warn("badger", "says", says(format, args))
}

func (l badgerLog) Infof(format string, args ...any) {
	l.log.Debug("badger", "says", says(format, args))
}

func (l badgerLog) Debugf(format string, args ...any) {
	l.log.Debug("badger", "says", says(format, args))
}

func says(format string, args []any) string { return strings.TrimSpace(fmt.Sprintf(format, args...)) }
