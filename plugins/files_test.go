package plugins_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/plugins"
)

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.yaml", "id: a\nname: file\nissuer: https://a.example\n")
	write(t, dir, "b.json", `{"id": "b", "name": "file", "issuer": "https://b.example"}`)
	write(t, dir, "both.yml", "id: both\nname: file\nissuer: https://both.example\noverride: true\n")
	write(t, dir, "README.md", "not a definition")
	write(t, dir, ".#a.yaml", "not a definition")
	if err := os.Mkdir(filepath.Join(dir, "folder.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	// As Kubernetes mounts what it calls a config map.
	write(t, dir, ".real", "id: linked\nname: file\nissuer: https://linked.example\n")
	if err := os.Symlink(".real", filepath.Join(dir, "linked.yaml")); err != nil {
		t.Fatal(err)
	}
	store := newMemory()
	r, _ := openFolder(t, plugins.Config{Store: store, Dir: dir})
	rescan(t, r)
	if problems := problemsOf(r); problems != nil {
		t.Errorf("Problems() = %q, want none", problems)
	}
	for _, id := range []string{"a", "b", "both", "linked"} {
		expect(t, r, id, "file", broker.SourceFile)
	}
	expect(t, r, "builtin", "one", broker.SourceBuiltin)
	if n := len(r.Definitions()); n != 5 {
		t.Errorf("Rescan made it %d definitions, want 5", n)
	}

	ctx := t.Context()
	if _, err := r.Put(ctx, named("both", "api"), false, true); err != nil {
		t.Errorf("Put(both, override) = %v", err)
	}
	expect(t, r, "both", "api", broker.SourceAPI)
	if err := r.Delete(ctx, "both"); err != nil {
		t.Errorf("Delete(both) = %v", err)
	}
	expect(t, r, "both", "file", broker.SourceFile)
}

func TestFolderErrors(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "1-good.yaml", "id: good\nname: file\nissuer: https://good.example\n")
	write(t, dir, "2-key.yaml", "id: key\nname: file\ntoken_url: https://key.example\n")
	write(t, dir, "3-check.yaml", "id: check\nname: file\nauthorizationUrl: https://check.example\ntokenUrl: http://check.example\nrefresh:\n  rotation: yes\n")
	write(t, dir, "4-builtin.yaml", "name: file\nissuer: https://builtin.example\nid: builtin\n")
	write(t, dir, "5-twice.yaml", "id: good\nname: file\nissuer: https://twice.example\noverride: true\n")
	write(t, dir, "6-missing.yaml", "id: missing\nname: file\nauthorizationUrl: https://a.example/{tenant}\ntokenUrl: https://{tenant}.example\ninputs:\n  tenant: {default: a}\n")
	write(t, dir, "7-large.yaml", "# "+strings.Repeat("a", 1<<20))
	write(t, dir, "8-good.yaml", "id: also_good\nname: file\nissuer: https://good.example\n")
	if err := syscall.Mkfifo(filepath.Join(dir, "9-pipe.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}

	r, _ := openFolder(t, plugins.Config{Store: newMemory(), Dir: dir})
	rescan(t, r)
	want := []string{
		`2-key.yaml:3: there is no key "token_url"; write "tokenUrl"`,
		`3-check.yaml:6: refresh.rotation: "yes" is unknown; give one of always, never, sometimes (and 1 more)`,
		`4-builtin.yaml:3: the id "builtin" is that of the built-in catalogue; add override: true to replace it, or choose another`,
		`5-twice.yaml:1: the id "good" is that of ` + filepath.Join(dir, "1-good.yaml") + ` already; choose another`,
		`6-missing.yaml:6: inputs.tenant.pattern: is needed, since {tenant} is part of the host in tokenUrl`,
		`7-large.yaml:1: is larger than 64 KiB`,
		`9-pipe.yaml is no regular file`,
	}
	got := problemsOf(r)
	if len(got) != len(want) {
		t.Fatalf("Problems() = %q, want %d", got, len(want))
	}
	for i, text := range got {
		if text = strings.TrimPrefix(text, "reading a provider definition: "); text != filepath.Join(dir, want[i]) {
			t.Errorf("Problems() has %s, want %s", text, filepath.Join(dir, want[i]))
		}
	}
	for _, id := range []string{"good", "also_good"} {
		expect(t, r, id, "file", broker.SourceFile)
	}
	expect(t, r, "builtin", "one", broker.SourceBuiltin)
	if n := len(r.Definitions()); n != 4 {
		t.Errorf("Rescan made it %d definitions, want 4", n)
	}
}

func TestFolderThatIsNone(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "file", "")
	for path, want := range map[string]string{"none": "", "file": "not a directory"} {
		r, _ := openFolder(t, plugins.Config{Store: newMemory(), Dir: filepath.Join(dir, path)})
		rescan(t, r)
		if got := strings.Join(problemsOf(r), "\n"); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("Problems() of %s = %q, want %q", path, got, want)
		}
	}
}
