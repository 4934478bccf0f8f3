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
	landlockabi "github.com/landlock-lsm/go-landlock/landlock/syscall"
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
	// Where there is not enough for both, the daemon goes before the plugin. A
	// system that says no leaves that to its own choice.
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, 10)
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)
	return nil
}

// tellWeak tells once of each thing that this system lacks to hold plugins in.
func (h *Host) tellWeak(img *image) {
	if abi, err := landlockabi.LandlockGetABIVersion(); err != nil || abi < 1 {
		h.weak[0].Do(func() {
			h.config.Log.Warn("this kernel has no Landlock, or hides it: a plugin can read what the user can that it runs as")
		})
	}
	if img.private != "" {
		h.weak[1].Do(func() {
			h.config.Log.Warn("this system runs nothing out of sealed memory: plugins are run from copies in the data folder, which the daemon's own user could change")
		})
	}
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
// that a key lies in. Nor does it leave it TCP, abstract sockets, or signals to
// others.
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
	return landlock.V7.BestEffort().Restrict(rules...)
}

var deniedEverywhere = []string{
	"connect", "io_uring_setup", "io_uring_enter", "io_uring_register",
	"ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp",
	"kill", "tkill", "pidfd_send_signal", "rt_sigqueueinfo", "rt_tgsigqueueinfo",
	"setpriority", "ioprio_set", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr",
	"bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key", "request_key",
	"unshare", "setns", "mount", "umount2", "move_mount", "open_tree", "fsopen", "pivot_root", "chroot",
}

// Of asm-generic/sockios.h: they say who gets the signals of a socket.
const fioSetOwn, siocSetGroup = 0x8901, 0x8902

// confineCalls denies what a plugin needs not: other processes, the network, and
// connections to anybody. It answers on a socket; the daemon, whose user it may
// share, must not take it for an operator.
func confineCalls() error {
	deny := seccomp.ActionErrno | seccomp.Action(unix.EPERM)
	self := uint64(os.Getpid()) // that of the plugin, too
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
					// Datagrams go to anybody without a connection.
					{Name: "socket", Conditions: seccomp.ArgumentConditions{{Argument: 1, Operation: seccomp.BitsSet, Value: unix.SOCK_DGRAM}}},
					{Name: "socketpair", Conditions: seccomp.ArgumentConditions{{Argument: 1, Operation: seccomp.BitsSet, Value: unix.SOCK_DGRAM}}},
					// Of another process of the same user a plugin could be the end.
					{Name: "tgkill", Conditions: seccomp.ArgumentConditions{{Argument: 0, Operation: seccomp.NotEqual, Value: self}}},
					{Name: "prlimit64", Conditions: seccomp.ArgumentConditions{
						{Argument: 0, Operation: seccomp.NotEqual, Value: 0}, {Argument: 0, Operation: seccomp.NotEqual, Value: self},
					}},
					{Name: "fcntl", Conditions: seccomp.ArgumentConditions{{Argument: 1, Operation: seccomp.Equal, Value: unix.F_SETOWN}}},
					{Name: "fcntl", Conditions: seccomp.ArgumentConditions{{Argument: 1, Operation: seccomp.Equal, Value: unix.F_SETOWN_EX}}},
					{Name: "ioctl", Conditions: seccomp.ArgumentConditions{{Argument: 1, Operation: seccomp.Equal, Value: fioSetOwn}}},
					{Name: "ioctl", Conditions: seccomp.ArgumentConditions{{Argument: 1, Operation: seccomp.Equal, Value: siocSetGroup}}},
					// It ends with the daemon.
					{Name: "prctl", Conditions: seccomp.ArgumentConditions{{Argument: 0, Operation: seccomp.Equal, Value: unix.PR_SET_PDEATHSIG}}},
				}},
			},
		},
	})
}
