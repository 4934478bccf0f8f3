package socket

import (
	"os"
	"strconv"
	"strings"
	"sync"
)

// overflowID is what stands for unmapped ids unless an operator set another.
const overflowID = 65534

// unmappedUID and unmappedGID return the id that stands for all that this
// process' user namespace does not map, or -1 where it maps all: there it is an
// id as others.
var (
	unmappedUID = sync.OnceValue(func() int64 { return unmapped("/proc/self/uid_map", "/proc/sys/kernel/overflowuid") })
	unmappedGID = sync.OnceValue(func() int64 { return unmapped("/proc/self/gid_map", "/proc/sys/kernel/overflowgid") })
)

func unmapped(mapFile, overflowFile string) int64 {
	const everything = "0 0 4294967295"
	mapping, err := os.ReadFile(mapFile)
	if err == nil && strings.Join(strings.Fields(string(mapping)), " ") == everything {
		return -1
	}
	text, err := os.ReadFile(overflowFile)
	if err != nil {
		return overflowID
	}
	id, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	if err != nil {
		return overflowID
	}
	return int64(id)
}
