package host

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestOpenExecutable: what others could have written, or what is no plain file, is
// not run, and the error says what to do.
func TestOpenExecutable(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	link, pipe := filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := os.Symlink(file("target", 0o755), link); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(pipe, 0o755); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file("good", 0o755):                 "",
		file("private", 0o500):              "",
		file("group", 0o775):                "chmod go-w",
		file("world", 0o757):                "chmod go-w",
		file("plain", 0o644):                "chmod u+x",
		file("setuid", 0o755|os.ModeSetuid): "chmod ug-s",
		file("setgid", 0o755|os.ModeSetgid): "chmod ug-s",
		link:                                "symbolic link",
		file("two words", 0o755):            "a name that no plugin may have",
		file("\xff", 0o755):                 "a name that no plugin may have",
		pipe:                                "no regular file",
		dir:                                 "no regular file",
		filepath.Join(dir, "absent"):        "no such file",
	} {
		f, err := openExecutable(path)
		if err == nil {
			f.Close()
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("openExecutable(%s) = %v, want %q", filepath.Base(path), err, want)
		}
	}
	if os.Geteuid() != 0 {
		t.Log("files of other users are not tried: that takes root")
		return
	}
	foreign := file("foreign", 0o755)
	if err := os.Chown(foreign, 12345, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := openExecutable(foreign); err == nil || !strings.Contains(err.Error(), "belongs to user id 12345: chown") {
		t.Errorf("openExecutable of another's = %v, want whose it is and what to do", err)
	}
}

// TestCheckFolder looks at every folder above, too.
func TestCheckFolder(t *testing.T) {
	base := t.TempDir()
	inner := filepath.Join(base, "a", "b")
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := checkFolder(inner); err != nil {
		t.Fatalf("checkFolder() = %v, want nil", err)
	}
	for _, open := range []string{inner, filepath.Dir(inner)} {
		if err := os.Chmod(open, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := checkFolder(inner); err == nil || !strings.Contains(err.Error(), open+" can be written by others") {
			t.Errorf("checkFolder under %s with mode 0777 = %v, want it named", open, err)
		}
		if err := os.Chmod(open, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// The sticky bit is enough above the folder, not for itself.
	if err := os.Chmod(filepath.Dir(inner), 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if err := checkFolder(inner); err != nil {
		t.Errorf("checkFolder under a sticky folder = %v, want nil", err)
	}
	if err := os.Chmod(inner, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if err := checkFolder(inner); err == nil {
		t.Error("checkFolder of a sticky folder = nil, want an error")
	}
}
