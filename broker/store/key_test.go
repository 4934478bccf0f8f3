package store

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// sampleKey has bytes that url-safe base64 writes differently.
func sampleKey() []byte { return bytes.Repeat([]byte{0xfb, 0xff}, KeySize/2) }

func TestParseKey(t *testing.T) {
	want := sampleKey()
	standard := base64.StdEncoding.EncodeToString(want)
	for _, s := range []string{standard, " " + standard + "\n", "\t" + standard + "\r\n"} {
		key, err := ParseKey(s)
		if err != nil {
			t.Errorf("ParseKey(%q) = %v, want a key", s, err)
			continue
		}
		if !bytes.Equal(key.reveal(), want) {
			t.Errorf("ParseKey(%q) has other bytes", s)
		}
	}
	for name, test := range map[string]struct{ key, says string }{
		"empty":       {"", "is empty"},
		"blank":       {" \n", "is empty"},
		"short":       {base64.StdEncoding.EncodeToString(want[:31]), "has 31 bytes"},
		"long":        {base64.StdEncoding.EncodeToString(append(want, 1)), "has 33 bytes"},
		"half":        {base64.StdEncoding.EncodeToString(want[:16]), "has 16 bytes"},
		"zero":        {base64.StdEncoding.EncodeToString(make([]byte, KeySize)), "all zeros"},
		"url-safe":    {base64.URLEncoding.EncodeToString(want), "url-safe"},
		"raw url":     {base64.RawURLEncoding.EncodeToString(want), "url-safe"},
		"unpadded":    {base64.RawStdEncoding.EncodeToString(want), "padding"},
		"hex":         {hex.EncodeToString(want), "has 48 bytes"},
		"text":        {"correct horse battery staple!", "is not base64"},
		"line break":  {standard[:20] + "\n" + standard[20:], "line break"},
		"two keys":    {standard + standard, "is not base64"},
		"quoted":      {`"` + standard + `"`, "is not base64"},
		"stray bits":  {standard[:42] + "+=", "is not base64"},
		"white space": {standard[:20] + " " + standard[20:], "is not base64"},
	} {
		key, err := ParseKey(test.key)
		if err == nil || key.reveal != nil {
			t.Errorf("%s: ParseKey succeeded, want an error", name)
			continue
		}
		if !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: ParseKey = %q, want one line with %q", name, err, test.says)
		}
		if len(test.key) > 8 && strings.Contains(err.Error(), strings.TrimSpace(test.key)[:8]) {
			t.Errorf("%s: the error %q holds the key", name, err)
		}
	}
}

func TestKeyDoesNotPrint(t *testing.T) {
	raw := sampleKey()
	key, err := ParseKey(base64.StdEncoding.EncodeToString(raw))
	if err != nil {
		t.Fatal(err)
	}
	type holder struct {
		Exported   Key
		unexported Key
		pointer    *Key
		any        any
	}
	h := holder{key, key, &key, key}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X"} {
		for _, value := range []any{key, &key, h, &h, []Key{key}, map[string]any{"k": h}, errors.Join(fmt.Errorf("%v", key))} {
			fmt.Fprintf(&out, verb, value)
		}
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "key", key, "holder", h)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "key", key, "holder", h)
	printed := strings.ToLower(out.String())
	for _, form := range []string{"251 255", "251, 255", "fbff", "0xfb", base64.StdEncoding.EncodeToString(raw)[:8]} {
		if strings.Contains(printed, strings.ToLower(form)) {
			t.Errorf("printing shows the key as %q", form)
		}
	}
	if !strings.Contains(printed, "[redacted]") {
		t.Error("printing a key does not say [redacted]")
	}
}

// The keys that a DB holds must not come out by printing it or what holds it.
func TestDBDoesNotPrint(t *testing.T) {
	db := open(t, t.TempDir())
	type holder struct{ db *DB }
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
		for _, value := range []any{db, holder{db}, &holder{db}, map[string]*DB{"db": db}} {
			fmt.Fprintf(&out, verb, value)
		}
	}
	for name, secret := range map[string][]byte{
		"badger key": db.sealer.keys().Badger, "data key": db.sealer.keys().Terms[0].Key, "index key": db.sealer.keys().Index,
	} {
		for _, form := range []string{
			strings.Trim(fmt.Sprint(secret[:6]), "[]"), hex.EncodeToString(secret[:6]), fmt.Sprintf("%#v", secret[:6])[7:30],
		} {
			if bytes.Contains(out.Bytes(), []byte(form)) {
				t.Errorf("printing a DB shows its %s", name)
			}
		}
	}
}
