package oauth

import (
	"net/http"
	"sync"
	"time"
)

const (
	clockTolerance = 30 * time.Second // what differs less is not worth mending
	clocksMax      = 1024             // how many hosts are remembered
)

// clocks remembers of each host how far its clock is from ours, by the Date of
// its answers, so that what is signed for it is neither of its past nor of its
// future. The zero value is ready.
type clocks struct {
	mu      sync.Mutex
	offsets map[string]time.Duration // guarded by mu; only those beyond the tolerance
}

// note takes the Date of an answer that came at now.
func (c *clocks) note(host, date string, now time.Time) {
	theirs, err := http.ParseTime(date)
	if err != nil {
		return
	}
	offset := theirs.Sub(now)
	c.mu.Lock()
	defer c.mu.Unlock()
	if offset.Abs() <= clockTolerance {
		delete(c.offsets, host)
		return
	}
	if c.offsets == nil || len(c.offsets) >= clocksMax {
		c.offsets = map[string]time.Duration{}
	}
	c.offsets[host] = offset
}

// at returns now by the clock of a host.
func (c *clocks) at(host string, now time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return now.Add(c.offsets[host])
}
