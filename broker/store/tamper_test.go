package store

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/invectd/invectd/broker"
)

// A tamperer has write access to the disk and, unlike any real one, Badger's
// key; but not those that seal.
type tamperer struct {
	t      *testing.T
	badger *badger.DB
	sealer *sealer
}

// tamper does something to a closed store.
func tamper(t *testing.T, dir string, do func(tamperer)) {
	t.Helper()
	ring, keys, err := inspect(dir, testKey(t, 7))
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSealer(ring, keys)
	if err != nil {
		t.Fatal(err)
	}
	config := testConfig(t, dir)
	bdb, err := openBadger(badgerOptions((&DB{dir: dir}).records(), keys, config.Log))
	if err != nil {
		t.Fatal(err)
	}
	do(tamperer{t, bdb, s})
	if err := bdb.Close(); err != nil {
		t.Fatal(err)
	}
}

func (x tamperer) read(at place) (value []byte) {
	x.t.Helper()
	err := x.badger.View(func(txn *badger.Txn) error {
		item, err := txn.Get(x.sealer.key(at))
		if err == nil {
			value, err = item.ValueCopy(nil)
		}
		return err
	})
	if err != nil {
		x.t.Fatalf("reading %s: %v", at, err)
	}
	return value
}

func (x tamperer) write(at place, value []byte) {
	x.t.Helper()
	err := x.badger.Update(func(txn *badger.Txn) error {
		if value == nil {
			return txn.Delete(x.sealer.key(at))
		}
		return txn.Set(x.sealer.key(at), value)
	})
	if err != nil {
		x.t.Fatalf("writing %s: %v", at, err)
	}
}

func summaryAt(id string) place { return place{kindSummary, id} }
func bodyAt(id string) place    { return place{kindBody, id} }

// update changes id-1 once and returns both halves as they were before.
func update(t *testing.T, dir string) (oldHead, oldBody []byte) {
	t.Helper()
	tamper(t, dir, func(x tamperer) { oldHead, oldBody = x.read(summaryAt("id-1")), x.read(bodyAt("id-1")) })
	db := open(t, dir)
	if _, err := db.Update(t.Context(), "id-1", func(c *broker.Credential) error { c.Name = "newer"; return nil }); err != nil {
		t.Fatal(err)
	}
	closeStore(t, db)
	return oldHead, oldBody
}

// damage expects err to be a DamagedError that is ErrStoreUnavailable, not
// ErrNotFound, and names the ids.
func damage(t *testing.T, err error, ids ...string) *DamagedError {
	t.Helper()
	d, ok := errors.AsType[*DamagedError](err)
	if !ok || !errors.Is(err, broker.ErrStoreUnavailable) || errors.Is(err, broker.ErrNotFound) {
		t.Fatalf("error = %v, want a DamagedError", err)
	}
	var named []string
	for _, r := range d.Records {
		named = append(named, r.ID)
	}
	slices.Sort(named)
	if !slices.Equal(slices.Compact(named), ids) {
		t.Errorf("%v names %q, want %q", err, named, ids)
	}
	return d
}

// What is wrong with a body is found when it is read; the rest is not touched.
func TestDamagedBodies(t *testing.T) {
	for name, do := range map[string]func(t *testing.T, dir string){
		"swapped": func(t *testing.T, dir string) {
			tamper(t, dir, func(x tamperer) { x.write(bodyAt("id-1"), x.read(bodyAt("id-2"))) })
		},
		"rolled back": func(t *testing.T, dir string) {
			_, old := update(t, dir)
			tamper(t, dir, func(x tamperer) { x.write(bodyAt("id-1"), old) })
		},
		"lost":    func(t *testing.T, dir string) { tamper(t, dir, func(x tamperer) { x.write(bodyAt("id-1"), nil) }) },
		"emptied": func(t *testing.T, dir string) { tamper(t, dir, func(x tamperer) { x.write(bodyAt("id-1"), []byte{}) }) },
		"another kind": func(t *testing.T, dir string) {
			tamper(t, dir, func(x tamperer) { x.write(bodyAt("id-1"), x.read(summaryAt("id-1"))) })
		},
		"altered": func(t *testing.T, dir string) {
			tamper(t, dir, func(x tamperer) {
				value := x.read(bodyAt("id-1"))
				value[len(value)-20] ^= 1
				x.write(bodyAt("id-1"), value)
			})
		},
		"a later version": func(t *testing.T, dir string) {
			tamper(t, dir, func(x tamperer) {
				value := x.read(bodyAt("id-1"))
				value[0] = 2
				x.write(bodyAt("id-1"), value)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filled(t)
			do(t, dir)
			db := open(t, dir)
			_, err := db.Get(t.Context(), "id-1")
			damage(t, err, "id-1")
			_, err = db.Update(t.Context(), "id-1", func(*broker.Credential) error { t.Error("change saw a damaged credential"); return nil })
			damage(t, err, "id-1")
			if _, err := db.Get(t.Context(), "id-2"); err != nil {
				t.Errorf("Get of another credential: %v", err)
			}
			if err := db.Delete(t.Context(), "id-1"); err != nil {
				t.Errorf("Delete of a damaged credential: %v", err)
			}
			closeStore(t, db)
			open(t, dir)
		})
	}
}

// What is wrong with a record that the root accounts for, and that nothing names,
// is found by Open.
func TestDamagedStore(t *testing.T) {
	authorization := authorizationAt("state")
	definition, app := place{kindDefinition, "def"}, place{kindApp, "def"}
	var kept []byte
	for name, test := range map[string]struct {
		do    func(x tamperer)
		names []string
		lost  int
		says  string
	}{
		"both halves lost": {func(x tamperer) {
			x.write(summaryAt("id-1"), nil)
			x.write(bodyAt("id-1"), nil)
		}, nil, 1, "1 records are lost"},
		"authorization lost": {func(x tamperer) { x.write(authorization, nil) }, nil, 1, "1 records are lost"},
		"definition lost":    {func(x tamperer) { x.write(definition, nil) }, nil, 1, "1 records are lost"},
		"app lost":           {func(x tamperer) { x.write(app, nil) }, nil, 1, "1 records are lost"},
		"root lost":          {func(x tamperer) { x.write(place{kind: kindRoot}, nil) }, nil, 0, "root record is lost"},
		"root altered": {func(x tamperer) {
			value := x.read(place{kind: kindRoot})
			value[len(value)-1] ^= 1
			x.write(place{kind: kindRoot}, value)
		}, []string{""}, 0, "root record"},
		"a summary in the place of the root": {func(x tamperer) { x.write(place{kind: kindRoot}, x.read(summaryAt("id-1"))) }, []string{""}, 0, "another record"},
		"a record where none was":            {func(x tamperer) { x.write(summaryAt("new"), x.read(summaryAt("id-1"))) }, nil, 0, "does not belong"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filled(t)
			tamper(t, dir, test.do)
			_, err := Open(testConfig(t, dir))
			d := damage(t, err, test.names...)
			if d.Lost != test.lost || !strings.Contains(err.Error(), test.says) {
				t.Errorf("Open = %v (%d lost), want %d lost and %q", err, d.Lost, test.lost, test.says)
			}
		})
	}
	t.Run("both halves rolled back", func(t *testing.T) {
		dir := filled(t)
		oldHead, oldBody := update(t, dir)
		tamper(t, dir, func(x tamperer) { x.write(summaryAt("id-1"), oldHead); x.write(bodyAt("id-1"), oldBody) })
		_, err := Open(testConfig(t, dir))
		if damage(t, err); !strings.Contains(err.Error(), "earlier state") {
			t.Errorf("Open = %v, want it to speak of an earlier state", err)
		}
	})
	t.Run("a used authorization put back", func(t *testing.T) {
		dir := filled(t)
		tamper(t, dir, func(x tamperer) { kept = x.read(authorization) })
		db := open(t, dir)
		if _, err := db.TakeAuthorization(t.Context(), "state"); err != nil {
			t.Fatal(err)
		}
		closeStore(t, db)
		tamper(t, dir, func(x tamperer) { x.write(authorization, kept) })
		_, err := Open(testConfig(t, dir))
		if damage(t, err); !strings.Contains(err.Error(), "were removed") {
			t.Errorf("Open = %v, want it to speak of removed records", err)
		}
	})
	// Deleted and made again, a definition has the revision it had before.
	t.Run("a definition replaced by its predecessor", func(t *testing.T) {
		dir := filled(t)
		tamper(t, dir, func(x tamperer) { kept = x.read(definition) })
		db := open(t, dir)
		err := errors.Join(db.DeleteDefinition(t.Context(), "def"), db.PutDefinition(t.Context(), broker.Definition{ID: "def", Name: "newer"}))
		if err != nil {
			t.Fatal(err)
		}
		closeStore(t, db)
		tamper(t, dir, func(x tamperer) {
			if r, err := decodeRecord(x.read(definition)); err != nil || r.revision != 1 {
				t.Errorf("the definition has revision %d, %v, want 1", r.revision, err)
			}
			x.write(definition, kept)
		})
		_, err = Open(testConfig(t, dir))
		damage(t, err)
	})
}

// A damaged definition can be replaced, and a damaged authorization expires no
// others by accident.
func TestDamagedContentCanBeReplaced(t *testing.T) {
	dir := filled(t)
	tamper(t, dir, func(x tamperer) {
		value := x.read(place{kindDefinition, "def"})
		value[len(value)-tagSize-1] ^= 1 // the ciphertext, not the tag
		x.write(place{kindDefinition, "def"}, value)
	})
	db := open(t, dir)
	if all, err := db.StoredDefinitions(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("StoredDefinitions = %v, %v, want none", all, err)
	}
	if all := db.Damaged(); len(all) != 1 || all[0].ID != "def" || all[0].OfCredential() {
		t.Errorf("Damaged = %v, want def", all)
	}
	if err := db.PutDefinition(t.Context(), broker.Definition{ID: "def", Name: "whole"}); err != nil {
		t.Fatal(err)
	}
	if all, err := db.StoredDefinitions(t.Context()); err != nil || len(all) != 1 || all[0].Name != "whole" {
		t.Errorf("StoredDefinitions = %v, %v", all, err)
	}
	if _, err := db.Check(t.Context()); err != nil {
		t.Errorf("Check after it was replaced: %v", err)
	}
}

func TestSummariesGoOnAfterDamage(t *testing.T) {
	dir := filled(t)
	tamper(t, dir, func(x tamperer) {
		value := x.read(summaryAt("id-1"))
		value[len(value)-tagSize-1] ^= 1
		x.write(summaryAt("id-1"), value)
	})
	db := open(t, dir)
	var whole, broken int
	for _, err := range db.Summaries(t.Context()) {
		if err == nil {
			whole++
			continue
		}
		damage(t, err, "id-1")
		broken++
	}
	if whole != 4 || broken != 1 {
		t.Errorf("Summaries yields %d summaries and %d errors, want 4 and 1", whole, broken)
	}
}

// The root is the same whatever the order, and no two records stand for each other.
func TestRootAccount(t *testing.T) {
	s := testSealer(t)
	a, b := seal(t, s, summaryAt("a"), 1, "x"), seal(t, s, summaryAt("b"), 1, "x")
	var one, two root
	one.add(s.mark(&a))
	one.add(s.mark(&b))
	two.add(s.mark(&b))
	two.add(s.mark(&a))
	if one != two {
		t.Error("the order of records changes the root")
	}
	two.remove(s.mark(&a))
	two.remove(s.mark(&b))
	if two != (root{}) {
		t.Errorf("an emptied root is %v", two)
	}
	again := seal(t, s, summaryAt("a"), 1, "x")
	if bytes.Equal(one.sum[:], make([]byte, 32)) || s.mark(&a) == s.mark(&again) {
		t.Error("two records have the same mark")
	}
}
