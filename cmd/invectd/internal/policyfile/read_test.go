package policyfile

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const good = "rules: [{name: one, who: {uids: [1]}}]\n"

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// TestLoadTrusts: a file that others could have written, or put another in the
// place of, is no policy.
func TestLoadTrusts(t *testing.T) {
	for _, test := range []struct {
		name    string
		prepare func(t *testing.T, dir, file string)
		want    string // "" for none
	}{
		{"as it should be", func(*testing.T, string, string) {}, ""},
		{"group may read", func(t *testing.T, _, file string) { chmod(t, file, 0o640) }, ""},
		{"group may write", func(t *testing.T, _, file string) { chmod(t, file, 0o660) }, "others can write to"},
		{"all may write", func(t *testing.T, _, file string) { chmod(t, file, 0o602) }, "others can write to"},
		{"all may write the folder", func(t *testing.T, dir, _ string) { chmod(t, dir, 0o777) }, "others can write to"},
		{"a link from a safe folder", func(t *testing.T, dir, file string) {
			if err := os.Rename(file, filepath.Join(dir, "target")); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("target", file); err != nil {
				t.Fatal(err)
			}
		}, ""},
		{"a link to an open folder", func(t *testing.T, dir, file string) {
			open := filepath.Join(dir, "open")
			if err := os.Mkdir(open, 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(open, "p"), good)
			chmod(t, open, 0o777)
			os.Remove(file)
			if err := os.Symlink("open/p", file); err != nil {
				t.Fatal(err)
			}
		}, "others can write to"},
		{"a pipe", func(t *testing.T, _, file string) {
			os.Remove(file)
			if err := syscall.Mkfifo(file, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "is no regular file"},
		{"nothing", func(_ *testing.T, _, file string) { os.Remove(file) }, "no such file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			chmod(t, dir, 0o700)
			file := filepath.Join(dir, "policy.yaml")
			write(t, file, good)
			test.prepare(t, dir, file)
			rules, err := Load(file)
			if test.want == "" && (err != nil || len(rules) != 1) || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("Load = %v, %v, want an error with %q", rules, err, test.want)
			}
		})
	}
}

// TestLoadOwner: a file of another user's is no policy, whatever its mode.
func TestLoadOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give a file to another user")
	}
	file := filepath.Join(t.TempDir(), "policy.yaml")
	write(t, file, good)
	if err := os.Chown(file, 12345, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file); err == nil || !strings.Contains(err.Error(), "belongs to user id 12345: chown it") {
		t.Errorf("Load(another's) = %v, want that it is another's", err)
	}
}

// TestLoadReadOnlyVolume: the mode of a folder means nothing where nobody can
// write. Volumes of Kubernetes ConfigMaps are of mode 0777 and read-only.
func TestLoadReadOnlyVolume(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount a volume")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0777"); err != nil {
		t.Skipf("mounting is not permitted here: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, 0) })
	file := filepath.Join(dir, "policy.yaml")
	write(t, file, good)
	if _, err := Load(file); err == nil {
		t.Error("Load trusts a folder that all may write")
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, "mode=0777"); err != nil {
		t.Fatal(err)
	}
	if rules, err := Load(file); err != nil || len(rules) != 1 {
		t.Errorf("Load from a read-only volume = %v, %v, want the rule", rules, err)
	}
}

// TestFoldersAbove: whoever may rename a folder above the file's could put another
// file in its place.
func TestFoldersAbove(t *testing.T) {
	base := t.TempDir()
	inner := filepath.Join(base, "a", "b")
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(inner, "policy.yaml")
	if err := os.WriteFile(file, []byte("rules: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file); err != nil {
		t.Fatalf("Load() = %v, want nil", err)
	}
	above := filepath.Dir(inner)
	if err := os.Chmod(above, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file); err == nil || !strings.Contains(err.Error(), "others can write to "+above+" ") {
		t.Errorf("Load() under a folder of mode 0777 = %v, want it named", err)
	}
}
