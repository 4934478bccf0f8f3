package broker

import (
	"fmt"
	"slices"
)

// A Caller is who asks, as the kernel told it when the connection was accepted,
// or the daemon itself.
type Caller struct {
	UID    uint32
	GID    uint32
	Groups []uint32 // supplementary ones
	PID    int32    // for the audit only: what is known of the process is below
	Cgroup string   // its path from the root of the hierarchy, "/" for that; "" if unknown
	Unit   string   // the systemd unit of the system that the cgroup is of; "" if none

	// Runner says that it came over the runners' socket, where nobody is special.
	Runner bool
	// Attested is false where the kernel could not say who it is, or the process
	// has ended since. Such a caller gets nothing but what a grant gives it.
	Attested bool
	// Unattested says why it is not attested, for the log. The caller never
	// hears it.
	Unattested string

	// Daemon is true of [Daemon] alone.
	Daemon bool

	// Grant is the one that came with the request, if it is in force; else nil.
	Grant *Grant
}

// Daemon is who does what nobody asked for. It asks no policy.
var Daemon = Caller{Daemon: true}

func (c Caller) String() string {
	who := "unattested"
	switch {
	case c.Daemon:
		who = "the daemon"
	case c.Attested:
		who = fmt.Sprintf("uid %d", c.UID)
	}
	if c.Grant != nil {
		who += fmt.Sprintf(" with grant %q", c.Grant.Name)
	}
	return who
}

// inGroup reports whether the caller is in a group, be it the first one or a
// supplementary one.
func (c *Caller) inGroup(gid uint32) bool { return c.GID == gid || slices.Contains(c.Groups, gid) }
