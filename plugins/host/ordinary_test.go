package host

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// TestOrdinaryUser runs tests of this package as a daemon that is not root: a
// plugin is of the same user then.
func TestOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the tests run as an ordinary user already")
	}
	// Not in the test's own folder, which others cannot enter.
	dir, err := os.MkdirTemp("", "invectd-ordinary-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for to, from := range map[string]string{
		"tests": self, builtName(examplePackage): built(t, examplePackage), builtName(hostilePackage): built(t, hostilePackage),
	} {
		program, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, to), program, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	own := filepath.Join(dir, "own")
	const user = 4711 // nobody else's, so that no other process could be signalled
	for _, err := range []error{os.Chmod(dir, 0o755), os.Mkdir(own, 0o700), os.Chown(own, user, user)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "tests"), "-test.short", "-test.v",
		"-test.run=^(TestTrust|TestConfined|TestRestart|TestUpgradeUnderLoad|TestPrivateCopy)$")
	cmd.Dir = own
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + own, "TMPDIR=" + own, builtPrograms + "=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("as an ordinary user: %v\n%s", err, out)
	}
}
