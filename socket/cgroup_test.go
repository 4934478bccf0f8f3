package socket

import (
	"strings"
	"testing"
)

func TestParseCgroup(t *testing.T) {
	for text, want := range map[string]struct {
		path    string
		unified bool
	}{
		"0::/system.slice/ci.service\n":                                       {"/system.slice/ci.service", true},
		"5:devices:/d\n1:name=systemd:/system.slice/a.service\n0::/b\n":       {"/b", true},
		"5:devices:/d\n1:name=systemd:/system.slice/a.service\n0::/\n":        {"/system.slice/a.service", false},
		"12:pids:/p\n1:name=systemd:/user.slice/user-1.slice/session-3.scope": {"/user.slice/user-1.slice/session-3.scope", false},
		"0::/\n":              {"/", true},
		"0::/../../outside\n": {"/../../outside", true},
		"":                    {"", false},
		"nonsense":            {"", false},
	} {
		if path, unified := parseCgroup(text); path != want.path || unified != want.unified {
			t.Errorf("parseCgroup(%q) = %q, %v, want %q, %v", text, path, unified, want.path, want.unified)
		}
	}
}

func TestUnitOf(t *testing.T) {
	for cgroup, want := range map[string]string{
		"/system.slice/ci.service":                                           "ci.service",
		"/system.slice/system-ci.slice/ci@7.service":                         "ci@7.service",
		"/system.slice/ci.service/fake.service":                              "ci.service",
		"/user.slice/user-1000.slice/user@1000.service/app.slice/ci.service": "user@1000.service", // the user's own ci.service
		"/user.slice/user-1000.slice/session-3.scope":                        "session-3.scope",
		"/system.slice/docker-0123.scope":                                    "docker-0123.scope",
		"/system.slice/_cpu.service":                                         "cpu.service",
		"/kubepods/burstable/pod1/c/fake.service":                            "",
		"/../ci.service":                                                     "",
		"/system.slice":                                                      "",
		"/":                                                                  "",
		"":                                                                   "",
	} {
		if got := unitOf(cgroup); got != want {
			t.Errorf("unitOf(%q) = %q, want %q", cgroup, got, want)
		}
	}
}

// FuzzCgroup: whatever the kernel says, the path is one of the lines', and the
// unit a part of the path.
func FuzzCgroup(f *testing.F) {
	f.Add("0::/system.slice/ci.service\n")
	f.Add("1:name=systemd:/a/b.scope\n0::/\n")
	f.Fuzz(func(t *testing.T, text string) {
		path, _ := parseCgroup(text)
		if path != "" && (!strings.HasPrefix(path, "/") || !strings.Contains(text, path)) {
			t.Errorf("parseCgroup(%q) = %q", text, path)
		}
		if unit := unitOf(path); !strings.Contains(path, unit) || strings.Contains(unit, "/") {
			t.Errorf("unitOf(%q) = %q", path, unit)
		}
	})
}

func TestCgroupsAreBounded(t *testing.T) {
	var c cgroupPaths
	for id := range uint64(3 * maxCgroups) {
		c.put(id, "/x")
	}
	if _, ok := c.get(3*maxCgroups - 1); !ok || len(c.paths) > maxCgroups {
		t.Errorf("%d paths are remembered, the last %v, want at most %d and the last", len(c.paths), ok, maxCgroups)
	}
}
