package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
)

// snapshot describes every file below dir: name, mode, time of change, content.
func snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var data []byte
		if info.Mode().IsRegular() {
			if data, err = os.ReadFile(path); err != nil {
				return err
			}
		}
		files[path] = fmt.Sprintf("%v %v %x", info.Mode(), info.ModTime().UnixNano(), sha256.Sum256(data))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// refuse expects Open to fail without a trace.
func refuse(t *testing.T, config Config, says string) error {
	t.Helper()
	before := snapshot(t, config.Dir)
	db, err := Open(config)
	if err == nil {
		closeStore(t, db)
		t.Fatalf("Open succeeded, want an error with %q", says)
	}
	if !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
		t.Errorf("Open = %q, want one line with %q", err, says)
	}
	if after := snapshot(t, config.Dir); !maps.Equal(before, after) {
		t.Errorf("a refused Open changed the folder from %v to %v", before, after)
	}
	return err
}

// filled makes a closed store with credentials id-0 to id-4 and one of all else.
func filled(t testing.TB) (dir string) {
	t.Helper()
	dir = t.TempDir()
	db := open(t, dir)
	for n := range 5 {
		if _, err := db.Create(t.Context(), brokertest.FullCredential(broker.ID(fmt.Sprint("id-", n)))); err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(
		db.PutDefinition(t.Context(), broker.Definition{ID: "def"}),
		db.PutApp(t.Context(), broker.App{ProviderID: "def"}),
		db.CreateAuthorization(t.Context(), broker.Authorization{State: "state"}))
	if err != nil {
		t.Fatal(err)
	}
	closeStore(t, db)
	return dir
}

func TestOpenWithAWrongKey(t *testing.T) {
	dir := filled(t)
	if err := refuse(t, Config{Dir: dir, Key: testKey(t, 8)}, "not the one that this store was made with"); !errors.Is(err, ErrWrongKey) {
		t.Errorf("Open = %v, want ErrWrongKey", err)
	}
	refuse(t, Config{Dir: dir}, "no encryption key")
	// Not even on a folder without a lock file.
	if err := os.Remove(filepath.Join(dir, lockFile)); err != nil {
		t.Fatal(err)
	}
	refuse(t, Config{Dir: dir, Key: testKey(t, 8)}, "not the one that this store was made with")
}

func TestOpenWithoutAKeyMakesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if _, err := Open(Config{Dir: dir}); err == nil {
		t.Fatal("Open without a key succeeded")
	}
	if exists(dir) {
		t.Error("Open without a key made the folder")
	}
}

func TestOpenRefusesBadFolders(t *testing.T) {
	t.Run("without keyring", func(t *testing.T) {
		dir := filled(t)
		if err := os.Remove(filepath.Join(dir, keyringFile)); err != nil {
			t.Fatal(err)
		}
		refuse(t, testConfig(t, dir), "holds records but no keyring")
	})
	for _, mode := range []os.FileMode{0o777, 0o770, 0o702, 0o777 | os.ModeSticky} {
		t.Run(fmt.Sprintf("mode %v", mode), func(t *testing.T) {
			dir := filled(t)
			if err := os.Chmod(dir, mode); err != nil {
				t.Fatal(err)
			}
			refuse(t, testConfig(t, dir), "others can write")
		})
	}
	t.Run("a file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		refuse(t, testConfig(t, path), "is no folder")
	})
	t.Run("an altered keyring", func(t *testing.T) {
		dir := filled(t)
		path := filepath.Join(dir, keyringFile)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range data {
			data[i] ^= 1
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, _, err := inspect(dir, testKey(t, 7)); err == nil {
				t.Errorf("a keyring with byte %d changed was accepted", i)
			}
			data[i] ^= 1
		}
		if err := os.WriteFile(path, data[:len(data)/2], 0o600); err != nil {
			t.Fatal(err)
		}
		refuse(t, testConfig(t, dir), "no keyring")
	})
	for _, name := range []string{recordsFolder, filepath.Join(recordsFolder, badger.ManifestFilename), filepath.Join(recordsFolder, badger.KeyRegistryFileName)} {
		t.Run("without "+name, func(t *testing.T) {
			dir := filled(t)
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			_, err := Open(testConfig(t, dir))
			if _, ok := errors.AsType[*DamagedError](err); !ok || !strings.Contains(err.Error(), "missing") {
				t.Errorf("Open = %v, want a DamagedError that names what is missing", err)
			}
		})
	}
}

func TestOpenMakesPrivateFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "data")
	open(t, dir)
	for path, mode := range map[string]os.FileMode{
		dir: 0o700, filepath.Join(dir, recordsFolder): 0o700,
		filepath.Join(dir, keyringFile): 0o600, filepath.Join(dir, lockFile): 0o600,
	} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %04o, want %04o", path, info.Mode().Perm(), mode)
		}
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	_, err := Open(testConfig(t, dir))
	if want := fmt.Sprintf("another invectd (pid %d) uses %s", os.Getpid(), dir); err == nil || err.Error() != want {
		t.Errorf("second Open = %v, want %q", err, want)
	}
	if _, err := db.Create(t.Context(), brokertest.FullCredential("still-works")); err != nil {
		t.Errorf("Create after a refused second Open: %v", err)
	}
	closeStore(t, db)
	db = open(t, dir)
	if _, err := db.Get(t.Context(), "still-works"); err != nil {
		t.Errorf("Get after reopening: %v", err)
	}
}

// A crash at any step of the making of a store leaves one that opens.
func TestCreationIsTakenUp(t *testing.T) {
	t.Run("before the keyring", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, newRecordsFolder, "leftover"), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := open(t, dir).Create(t.Context(), brokertest.FullCredential("one")); err != nil {
			t.Errorf("Create: %v", err)
		}
	})
	t.Run("before the records are in place", func(t *testing.T) {
		dir := t.TempDir()
		if _, _, err := create(testConfig(t, dir), testConfig(t, dir).Log); err != nil {
			t.Fatal(err)
		}
		if _, err := open(t, dir).Create(t.Context(), brokertest.FullCredential("one")); err != nil {
			t.Errorf("Create: %v", err)
		}
	})
}

// Nothing on disk shows what is stored, and nothing its names.
func TestNothingLiesInClear(t *testing.T) {
	dir := filled(t)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, secret := range []string{"access-id", "refresh-id", "Work", "google", "id-0", "state", "http-api"} {
			if name := filepath.Base(path); strings.Contains(string(data), secret) {
				t.Errorf("%s holds %q in clear", name, secret)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
