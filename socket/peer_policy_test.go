package socket

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
)

// open lets every user reach the socket, so that only the policy is between them.
func (f *fixture) open(t *testing.T) {
	t.Helper()
	for path, mode := range map[string]os.FileMode{filepath.Dir(f.path): 0o755, f.path: 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
}

func rule(name string, deny bool, who broker.Who, on broker.On, may ...string) broker.Rule {
	set, err := broker.ParseVerbs(may...)
	if err != nil {
		panic(err)
	}
	return broker.Rule{Name: name, Deny: deny, Who: who, On: on, May: set}
}

// TestForeignUsers lets real processes of other users and groups in, each to what
// the rules give it.
func TestForeignUsers(t *testing.T) {
	needsRoot(t, "to become other users")
	f := newFixture(t)
	mail, bank := f.oauth(t, "mail", time.Hour), f.oauth(t, "bank", time.Hour)
	f.open(t)
	user := func(uid uint32) broker.Who { return broker.Who{UIDs: []uint32{uid}} }
	group := func(gid uint32) broker.Who { return broker.Who{Groups: []broker.Principal{{Name: "g", ID: gid}}} }
	f.broker.Policy.Use("f", []broker.Rule{
		rule("user", false, user(12345), broker.On{Names: []broker.Pattern{"mail"}}, "token", "list"),
		rule("group", false, group(777), broker.On{Names: []broker.Pattern{"bank"}}, "header"),
		rule("not these", true, group(778), broker.On{}, "*"),
	}, time.Now())
	for _, test := range []struct {
		who  syscall.Credential
		path string
		want string // a part of the body, and the status
	}{
		{syscall.Credential{Uid: 12345, Gid: 1}, "/credentials/mail/token", `"accessToken":"access-1" 200`},
		{syscall.Credential{Uid: 12345, Gid: 1}, "/token?provider=acme", `"accessToken":"access-1" 200`},
		{syscall.Credential{Uid: 12345, Gid: 1}, "/credentials/" + mail.ID + "/header", `"code":"forbidden" 403`},
		{syscall.Credential{Uid: 12345, Gid: 1}, "/credentials/" + bank.ID + "/token", `"code":"not_found" 404`},
		{syscall.Credential{Uid: 12345, Gid: 1}, "/credentials/oauth2/apps", `"code":"forbidden" 403`},
		{syscall.Credential{Uid: 12345, Gid: 1}, "/status", `"active":1 200`},
		{syscall.Credential{Uid: 12345, Gid: 778}, "/credentials/mail/token", `"code":"not_found" 404`},
		{syscall.Credential{Uid: 12345, Gid: 1, Groups: []uint32{5, 778}}, "/credentials/mail/token", `"code":"not_found" 404`},
		{syscall.Credential{Uid: 12346, Gid: 777}, "/credentials/bank/header", `"Authorization":"Bearer access-1" 200`},
		{syscall.Credential{Uid: 12346, Gid: 1, Groups: manyGroups(777)}, "/credentials/bank/header", `"Authorization":"Bearer access-1" 200`},
		{syscall.Credential{Uid: 12346, Gid: 1, Groups: []uint32{776}}, "/credentials/bank/header", `"code":"not_found" 404`},
		{syscall.Credential{Uid: 12346, Gid: 1}, "/credentials", `"code":"forbidden" 403`},
		{syscall.Credential{Uid: 12346, Gid: 1}, "/credentials/mail/token", `"code":"not_found" 404`},
		{syscall.Credential{Uid: 12346, Gid: 1}, "/credentials/none/token", `"code":"not_found" 404`},
		{syscall.Credential{Uid: 0, Gid: 778}, "/credentials/bank/token", `"accessToken":"access-1" 200`},
	} {
		got := f.asUser(t, &test.who, test.path)
		body, status, _ := strings.Cut(test.want, " 2")
		if body == test.want {
			body, status, _ = strings.Cut(test.want, " 4")
			status = "4" + status
		} else {
			status = "2" + status
		}
		if !strings.Contains(got, body) || !strings.HasSuffix(got, " "+status) {
			t.Errorf("as %+v, GET %s = %s, want %s", test.who, test.path, got, test.want)
		}
	}
	if got := f.asUser(t, &syscall.Credential{Uid: 12345, Gid: 1}, "/credentials"); strings.Contains(got, bank.ID) || !strings.Contains(got, mail.ID) {
		t.Errorf("the list for uid 12345 = %s, want mail alone", got)
	}
}

// manyGroups are more than fit into one question, the last of them gid.
func manyGroups(gid uint32) []uint32 {
	groups := make([]uint32, 0, 101)
	for i := range uint32(100) {
		groups = append(groups, 1000+i)
	}
	return append(groups, gid)
}

// TestRootOfANamespace is nobody but the user that it is outside.
func TestRootOfANamespace(t *testing.T) {
	needsRoot(t, "to become another user")
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Skip("needs unshare")
	}
	f := newFixture(t)
	f.oauth(t, "mail", time.Hour)
	f.open(t)
	if got := f.asUser(t, &syscall.Credential{Uid: 12345, Gid: 12345}, "/credentials/mail/token", unshare, "--user", "--map-root-user"); !strings.HasSuffix(got, " 404") {
		t.Errorf("as root of a namespace of uid 12345, GET token = %s, want 404", got)
	}
}

// TestUnmappedUser: in a user namespace the kernel calls all users outside it by
// one name, so none of them can be told from another.
func TestUnmappedUser(t *testing.T) {
	needsRoot(t, "to be seen by a daemon that is root of its namespace alone")
	path := filepath.Join(socketDir(t), "s")
	if err := os.Chown(filepath.Dir(path), 12345, 12345); err != nil {
		t.Fatal(err)
	}
	namespace := &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		Credential:  &syscall.Credential{Uid: 0, Gid: 0},
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 12345, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 12345, Size: 1}},
	}
	got := doorkeeper(t, path, namespace, func() { dial(t, path) })
	if got.Attested || got.Unattested != reasonUID {
		t.Errorf("the caller = %+v, want unattested, since its user is not mapped", got)
	}
}

// TestOuterProcess: a process that the daemon's PID namespace does not show has
// the pid 0.
func TestOuterProcess(t *testing.T) {
	needsRoot(t, "to make a PID namespace")
	path := filepath.Join(socketDir(t), "s")
	got := doorkeeper(t, path, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}, func() { dial(t, path) })
	if got.Attested || got.PID != 0 || got.Unattested != reasonPID {
		t.Errorf("the caller = %+v, want unattested, since it has no pid here", got)
	}
}

// TestCgroupOfPeer: a process is of the cgroup that it connected from.
func TestCgroupOfPeer(t *testing.T) {
	needsRoot(t, "to make a cgroup")
	root := ""
	for _, place := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(filepath.Join(place, "cgroup.controllers")); err == nil {
			root = place
		}
	}
	if root == "" {
		t.Skip("there is no unified cgroup hierarchy")
	}
	slice, err := os.MkdirTemp(root, "invectd-test-*.slice")
	if err != nil {
		t.Skipf("making a cgroup is not permitted here: %v", err)
	}
	t.Cleanup(func() { os.Remove(slice) })
	service := filepath.Join(slice, "job@7.service")
	inner := filepath.Join(service, "fake.service")
	for _, dir := range []string{service, inner} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove(dir) })
	}
	folder, err := os.Open(inner)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	ln := listenAt(t, filepath.Join(socketDir(t), "s"), 0o600)
	for range 2 { // the second is remembered
		connector := startConnector(t, ln.Addr().String(), &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(folder.Fd())})
		conn, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		got := identified(conn, false).(*peerConn).peer.current()
		if want := "/" + filepath.Base(slice) + "/job@7.service/fake.service"; got.Cgroup != want || got.Unit != "job@7.service" {
			t.Errorf("the caller is of the cgroup %q and the unit %q, want %q and job@7.service", got.Cgroup, got.Unit, want)
		}
		conn.Close()
		connector.end()
	}
}

func dial(t *testing.T, path string) {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
}
