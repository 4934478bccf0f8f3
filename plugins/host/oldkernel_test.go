package host

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/elastic/go-seccomp-bpf"
	"golang.org/x/sys/unix"

	"github.com/invectd/invectd/broker"
)

// oldKernel is the variable that makes these tests run as on a kernel without
// Landlock and without files in memory.
const oldKernel = "OLD_KERNEL"

// forgetCalls has the kernel not know these calls any more.
func forgetCalls() error {
	return seccomp.LoadFilter(seccomp.Filter{
		NoNewPrivs: true,
		Flag:       seccomp.FilterFlagTSync,
		Policy: seccomp.Policy{
			DefaultAction: seccomp.ActionAllow,
			Syscalls: []seccomp.SyscallGroup{{
				Action: seccomp.ActionErrno | seccomp.Action(unix.ENOSYS),
				Names:  []string{"landlock_create_ruleset", "memfd_create"},
			}},
		},
	})
}

// TestOldKernel: what a kernel cannot do is done as well as it can be, and told
// once.
func TestOldKernel(t *testing.T) {
	if os.Getenv(oldKernel) == "" {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestOldKernel$", "-test.v")
		cmd.Env = append(os.Environ(), oldKernel+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("on an old kernel: %v\n%s", err, out)
		}
		return
	}
	f := newFixture(t, map[string]string{"my_service": examplePackage, "moves": hostilePackage})
	for _, name := range []string{"my_service", "moves"} {
		if p := f.trust(t, name); p.State != broker.PluginRunning {
			t.Errorf("%s = %s: %s, want it running", name, p.State, p.Error)
		}
	}
	for _, told := range []string{"has no Landlock", "out of sealed memory"} {
		if count := strings.Count(f.log.String(), told); count != 1 {
			t.Errorf("the log says %d times that it %s, want once:\n%s", count, told, f.log)
		}
	}
}
