package socket

import (
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// maxCgroupFile bounds what is read of /proc/PID/cgroup: a line for each of the
// old controllers, each with a path of at most PATH_MAX.
const maxCgroupFile = 64 << 10

// cgroupOf returns the path of the cgroup of a process, "" if it cannot be found
// out for certain. A pid that was given to another process is noticed.
func cgroupOf(process *os.File, pid int32) string {
	before, known := cgroupID(process)
	if path, ok := cgroups.get(before); known && ok {
		return path
	}
	file, err := os.Open("/proc/" + strconv.Itoa(int(pid)) + "/cgroup")
	if err != nil {
		return ""
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxCgroupFile))
	if err != nil || ended(process) {
		return ""
	}
	path, unified := parseCgroup(string(text))
	// It may have been moved while we looked.
	if after, _ := cgroupID(process); known && unified && after == before {
		cgroups.put(before, path)
	}
	return path
}

// cgroupID returns the id of the process' cgroup in the unified hierarchy, which
// names it until the next boot, or false where the kernel is older than 6.13 or
// has none.
func cgroupID(process *os.File) (id uint64, ok bool) {
	raw, err := process.SyscallConn()
	if err != nil {
		return 0, false
	}
	err = raw.Control(func(fd uintptr) {
		info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_CGROUPID}
		if unix.IoctlPidfdInfo(int(fd), &info) == nil && info.Mask&unix.PIDFD_INFO_CGROUPID != 0 {
			id, ok = info.Cgroupid, true
		}
	})
	return id, ok && err == nil
}

// parseCgroup returns the path in what /proc/PID/cgroup has, see cgroups(7):
// that of the unified hierarchy, else, on a machine where systemd still uses the
// old one, of systemd's own. unified says which.
func parseCgroup(text string) (path string, unified bool) {
	old := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if found, ok := strings.CutPrefix(line, "0::"); ok {
			path = found
		}
		if _, found, ok := strings.Cut(line, ":name=systemd:"); ok {
			old = found
		}
	}
	if old == "" || path != "" && path != "/" {
		return path, path != ""
	}
	return old, false
}

// A unit is what systemd.unit(5) lets a name be, of the kinds that have processes.
var unit = regexp.MustCompile(`^[A-Za-z0-9:_.\\@-]+\.(service|scope|socket|mount|swap)$`)

// unitOf returns the systemd unit of the system that a cgroup is of: the first
// part of the path that is no slice. What is below it is named by whoever the
// unit belongs to, a user among others, and so says nothing.
func unitOf(cgroup string) string {
	for part := range strings.SplitSeq(strings.TrimPrefix(cgroup, "/"), "/") {
		if strings.HasSuffix(part, ".slice") {
			continue
		}
		if part = strings.TrimPrefix(part, "_"); unit.MatchString(part) {
			return part
		}
		break
	}
	return ""
}

// maxCgroups bounds how many paths are remembered.
const maxCgroups = 1024

// cgroups are the paths of cgroups by id. To read one costs more than all else
// that is asked about a peer.
var cgroups cgroupPaths

type cgroupPaths struct {
	mu    sync.Mutex
	paths map[uint64]string // guarded by mu
}

func (c *cgroupPaths) get(id uint64) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	path, ok := c.paths[id]
	return path, ok
}

func (c *cgroupPaths) put(id uint64, path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.paths) >= maxCgroups || c.paths == nil {
		c.paths = map[uint64]string{}
	}
	c.paths[id] = path
}
