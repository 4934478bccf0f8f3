package store

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"github.com/dgraph-io/ristretto/v2"
	"golang.org/x/sync/errgroup"
)

// checkTables reads every table of Badger before Badger does, and changes
// nothing. One whose index is damaged would end the process from a goroutine of
// Badger's own, where nobody can recover it; one that fails its checksum would
// be left out in silence; and a damaged block may do either, much later, when
// it is compacted.
//
// A block that can still be walked is let through: the seals of its records
// tell which of them are hit, and spare the others. It reports whether there is
// any.
func checkTables(folder string, keys *rootKeys, log *slog.Logger) (damagedBlocks bool, err error) {
	tables, registry, err := listTables(folder, keys)
	if err != nil {
		return false, err
	}
	defer registry.Close()
	indexes, err := ristretto.NewCache(&ristretto.Config[uint64, *fb.TableIndex]{NumCounters: 1 << 10, MaxCost: 16 << 20, BufferItems: 64})
	if err != nil {
		return false, err
	}
	defer indexes.Close()
	var suspects atomic.Int64
	var checks errgroup.Group
	checks.SetLimit(runtime.GOMAXPROCS(0))
	for number, entry := range tables {
		path := table.NewFilename(number, folder)
		key, err := registry.DataKey(entry.KeyID)
		if err != nil {
			return false, errors.Join(checks.Wait(), &DamagedError{Detail: fmt.Sprintf("%s is under a key that %s lacks", path, badger.KeyRegistryFileName)})
		}
		checks.Go(func() error {
			data, err := os.ReadFile(path)
			if err != nil {
				return &DamagedError{Detail: fmt.Sprintf("a table cannot be read: %v", err)}
			}
			err = checkTable(data, number, &table.Options{
				ReadOnly: true, ChkMode: options.NoVerification, BlockSize: blockSize,
				Compression: entry.Compression, DataKey: key, IndexCache: indexes,
			})
			switch {
			case errors.Is(err, errBlock):
				suspects.Add(1)
				log.Warn("a table of the store is damaged; its records are checked one by one as they are read", "table", path)
			case err != nil:
				return &DamagedError{Detail: path + " " + err.Error()}
			}
			return nil
		})
	}
	err = checks.Wait()
	return suspects.Load() > 0, err
}

// listTables reads the list of tables and the keys that they are under.
func listTables(folder string, keys *rootKeys) (tables map[uint64]badger.TableManifest, registry *badger.KeyRegistry, err error) {
	what := badger.ManifestFilename
	defer func() {
		if p := recover(); p != nil {
			err = errAltered
		}
		if err != nil {
			err = &DamagedError{Detail: fmt.Sprintf("%s cannot be read: %v", filepath.Join(folder, what), err)}
		}
	}()
	f, err := os.Open(filepath.Join(folder, badger.ManifestFilename))
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	manifest, _, err := badger.ReplayManifestFile(f, 0, badger.DefaultOptions(folder))
	if err != nil {
		return nil, nil, err
	}
	what = badger.KeyRegistryFileName
	registry, err = badger.OpenKeyRegistry(badger.KeyRegistryOptions{Dir: folder, ReadOnly: true, EncryptionKey: keys.Badger})
	return manifest.Tables, registry, err
}

// errBlock says that a block fails its checksum, though its records can be told
// apart.
var errBlock = errors.New("has a damaged block")

// checkTable reads one table in full.
func checkTable(data []byte, number uint64, o *table.Options) (err error) {
	defer func() {
		// Badger panics where a length leads out of the file. What it panics with
		// quotes the file.
		if p := recover(); p != nil {
			err = errAltered
		}
	}()
	t, err := table.OpenInMemoryTable(data, number, o)
	if err != nil {
		return errAltered
	}
	if checksumsHold(t) {
		return nil
	}
	walk := t.NewIterator(table.NOCACHE)
	defer walk.Close()
	var before []byte
	count := uint32(0)
	for walk.Rewind(); walk.Valid(); walk.Next() {
		key := walk.Key()
		if len(key) != keySize+timestampSize && !internalKey(key) || count > 0 && y.CompareKeys(before, key) >= 0 {
			return errAltered
		}
		before = append(before[:0], key...)
		walk.Value()
		count++
	}
	if count != t.KeyCount() { // an entry that vanishes could uncover an older one
		return errAltered
	}
	return errBlock
}

// checksumsHold is its own function since Badger panics where one does not.
func checksumsHold(t *table.Table) (hold bool) {
	defer func() {
		if p := recover(); p != nil {
			hold = false
		}
	}()
	return t.VerifyChecksum() == nil
}

// timestampSize is what Badger appends to every key.
const timestampSize = 8

// internalKey tells Badger's own keys.
func internalKey(key []byte) bool { return len(key) > 0 && key[0] == '!' }
