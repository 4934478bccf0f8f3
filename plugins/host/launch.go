package host

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/elastic/go-seccomp-bpf"
	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
)

// launcherName is the name that the daemon's own program is started under to
// become a plugin.
const launcherName = "invectd-plugin-launcher"

// imagePath is where a launcher finds the plugin's image: on the first descriptor
// after the standard ones.
const imagePath = "/proc/self/fd/3"

// nobody is whom a plugin runs as where the daemon is root.
const nobody = 65534

// Launch has to be the first call of the daemon's main: it returns at once, but
// in a process that was started to become a plugin, where it never does. Such a
// process locks itself in and then executes the plugin in its own place.
func Launch() {
	if os.Args[0] != launcherName || len(os.Args) != 3 {
		return
	}
	err := launch(os.Args[1], os.Args[2])
	fmt.Fprintln(os.Stderr, "starting the plugin:", err)
	os.Exit(1)
}

// launch becomes the plugin of that name, or returns why it cannot. parent is the
// daemon's process id. The working folder is the plugin's own.
func launch(name, parent string) error {
	runtime.LockOSThread()
	if err := limit(); err != nil {
		return err
	}
	if err := confineFiles(); err != nil {
		return fmt.Errorf("confining it to its files: %w", err)
	}
	if os.Geteuid() == 0 {
		if err := dropRoot(); err != nil {
			return fmt.Errorf("becoming user id %d: %w", nobody, err)
		}
	}
	// A change of user clears it, so that it is asked for here.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("asking to end with the daemon: %w", err)
	}
	if strconv.Itoa(os.Getppid()) != parent {
		return errors.New("the daemon has ended")
	}
	if err := confineCalls(); err != nil {
		return fmt.Errorf("confining its system calls: %w", err)
	}
	// Not close-on-exec: an interpreter opens the script that it is given.
	return unix.Exec(imagePath, []string{name}, os.Environ())
}

// limit sets the limits of resources, which a plugin cannot raise again.
func limit() error {
	for resource, value := range map[int]uint64{
		unix.RLIMIT_CORE:   0,
		unix.RLIMIT_NOFILE: 256,
		unix.RLIMIT_DATA:   1 << 30,  // of writable memory
		unix.RLIMIT_FSIZE:  16 << 20, // of any file that it writes
	} {
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: value, Max: value}); err != nil {
			return fmt.Errorf("limiting resource %d: %w", resource, err)
		}
	}
	// Where memory runs out, the plugin goes first. A kernel that says no leaves
	// it to choose by itself.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)
	return nil
}

func dropRoot() error {
	return errors.Join(
		unix.Setgroups([]int{}),
		unix.Setresgid(nobody, nobody, nobody),
		unix.Setresuid(nobody, nobody, nobody),
	)
}

// confineFiles leaves a plugin its own folder and what interpreters and libraries
// read, as far as the kernel can. In particular not the data folder, nor any file
// that a key lies in.
func confineFiles() error {
	rules := []landlock.Rule{
		landlock.RWDirs("."),
		landlock.RODirs("/usr", "/lib", "/lib64", "/bin", "/sbin", "/opt", "/etc/ssl", "/etc/pki", "/etc/alternatives", "/sys/fs/cgroup",
			"/proc/self", "/proc/sys").IgnoreIfMissing(),
		landlock.ROFiles("/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/localtime", "/etc/nsswitch.conf", "/etc/passwd", "/etc/hosts",
			"/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/dev/urandom", "/dev/random").IgnoreIfMissing(),
		landlock.RWFiles("/dev/null").IgnoreIfMissing(),
	}
	// A file in memory is beyond Landlock, which takes no rule for it either.
	if path, err := os.Readlink(imagePath); err == nil && !strings.HasPrefix(path, "/memfd:") {
		rules = append(rules, landlock.ROFiles(imagePath))
	}
	return landlock.V5.BestEffort().RestrictPaths(rules...)
}

var deniedEverywhere = []string{
	"connect", "io_uring_setup", "io_uring_enter", "io_uring_register",
	"ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp", "kill", "tkill", "pidfd_send_signal",
	"bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key", "request_key",
	"unshare", "setns", "mount", "umount2", "move_mount", "open_tree", "fsopen", "pivot_root", "chroot",
}

// confineCalls denies what a plugin needs not: other processes, the network, and
// connections to anybody. It answers on a socket; the daemon, whose user it may
// share, must not take it for an operator.
func confineCalls() error {
	deny := seccomp.ActionErrno | seccomp.Action(unix.EPERM)
	return seccomp.LoadFilter(seccomp.Filter{
		NoNewPrivs: true,
		Flag:       seccomp.FilterFlagTSync,
		Policy: seccomp.Policy{
			DefaultAction: seccomp.ActionAllow,
			Syscalls: []seccomp.SyscallGroup{
				{Action: seccomp.ActionErrno | seccomp.Action(unix.ENOSYS), Names: []string{"clone3"}}, // its flags are out of sight; libraries fall back to clone
				{Action: deny, Names: deniedCalls()},
				{Action: deny, NamesWithCondtions: []seccomp.NameWithConditions{
					{Name: "clone", Conditions: seccomp.ArgumentConditions{{Argument: 0, Operation: seccomp.BitsNotSet, Value: unix.CLONE_THREAD}}},
					{Name: "socket", Conditions: seccomp.ArgumentConditions{{Argument: 0, Operation: seccomp.NotEqual, Value: unix.AF_UNIX}}},
				}},
			},
		},
	})
}
