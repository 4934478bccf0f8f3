package audit

import "github.com/invectd/invectd/broker"

// A Caller is who asked, as a line has it: what the kernel said, or the daemon
// itself.
type Caller struct {
	Kind   string  `json:"kind"` // "user", "unattested" or "daemon"
	UID    *uint32 `json:"uid,omitempty"`
	GID    *uint32 `json:"gid,omitempty"`
	PID    int32   `json:"pid,omitempty"` // of the one who asked first, where a line counts
	Cgroup string  `json:"cgroup,omitempty"`
	Unit   string  `json:"unit,omitempty"`   // of systemd
	Runner bool    `json:"runner,omitempty"` // it came over the runners' socket
	Grant  string  `json:"grant,omitempty"`  // the id of the one that it presented
}

// The kinds of callers.
const (
	kindUser       = "user"
	kindUnattested = "unattested"
	kindDaemon     = "daemon"
)

// who tells callers apart whose repeats are counted together. A process is not
// told apart from others of its kind: scripts start one for each read.
type who struct {
	kind         string
	uid, gid     uint32
	cgroup, unit string
	runner       bool
	grant        broker.ID
}

func whoIs(c *broker.Caller) who {
	w := who{kind: kindUser, uid: c.UID, gid: c.GID, cgroup: c.Cgroup, unit: c.Unit, runner: c.Runner}
	switch {
	case c.Daemon:
		return who{kind: kindDaemon}
	case !c.Attested:
		w = who{kind: kindUnattested, runner: c.Runner}
	}
	if c.Grant != nil {
		w.grant = c.Grant.ID
	}
	return w
}

func (w who) line(pid int32) *Caller {
	c := &Caller{
		Kind: w.kind, PID: pid, Cgroup: shorten(w.cgroup), Unit: shorten(w.unit), Runner: w.runner, Grant: string(w.grant),
	}
	if w.kind == kindUser {
		c.UID, c.GID = new(w.uid), new(w.gid)
	}
	return c
}
