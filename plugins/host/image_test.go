package host

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSeal: what was hashed is what runs, whatever becomes of the file.
func TestSeal(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "plugin")
	if err := os.WriteFile(path, []byte("good"), 0o700); err != nil {
		t.Fatal(err)
	}
	digest, err := digestOf(strings.NewReader("good"))
	if err != nil {
		t.Fatal(err)
	}
	img, err := seal(path, digest, dir)
	if err != nil {
		t.Fatalf("seal() = %v", err)
	}
	defer img.Close()
	if err := os.WriteFile(path, []byte("evil"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(io.NewSectionReader(img, 0, 100)); err != nil || string(got) != "good" {
		t.Errorf("the image holds %q, %v, want what was hashed", got, err)
	}
	if _, err := img.WriteAt([]byte("evil"), 0); err == nil {
		t.Error("writing to the image = nil, want an error")
	}
	if err := img.Truncate(0); err == nil {
		t.Error("truncating the image = nil, want an error")
	}
	if _, err := seal(path, digest, dir); !errors.Is(err, errDigest) {
		t.Errorf("seal of another file = %v, want %v", err, errDigest)
	}
}

// TestTruncated: a file that is still being copied, at ten points, has another
// digest, and is not run.
func TestTruncated(t *testing.T) {
	dir := t.TempDir()
	whole, err := os.ReadFile(built(t, examplePackage))
	if err != nil {
		t.Fatal(err)
	}
	digest, err := digestOf(strings.NewReader(string(whole)))
	if err != nil {
		t.Fatal(err)
	}
	for tenth := range 10 {
		path := filepath.Join(dir, "plugin")
		if err := os.WriteFile(path, whole[:len(whole)*tenth/10], 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := seal(path, digest, dir); !errors.Is(err, errDigest) {
			t.Errorf("seal of %d tenths = %v, want %v", tenth, err, errDigest)
		}
	}
}

// TestPrivateCopy is what is run where there is no sealed memory.
func TestPrivateCopy(t *testing.T) {
	dir := t.TempDir()
	from, err := os.Open(built(t, examplePackage))
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	img, err := privateCopy(from, dir)
	if err != nil {
		t.Fatalf("privateCopy() = %v", err)
	}
	p, err := start("my_service", img, dir, &printed{log: quietLog})
	if err != nil {
		t.Fatalf("start() of a private copy = %v", err)
	}
	if err := p.alive(t.Context()); err != nil {
		t.Errorf("alive() = %v", err)
	}
	p.stop()
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("after it ended %v is left, %v, want nothing", left, err)
	}
}
