package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/hashicorp/go-plugin"
)

// A command is the process of one plugin. It implements go-plugin's
// runner.Runner, so that go-plugin starts what was hashed and nothing else.
type command struct {
	name   string
	cmd    *exec.Cmd
	image  *image
	folder *os.File // the plugin's own, where its socket is
	stdout io.ReadCloser
	exited chan struct{} // closed when the process has ended
}

// newCommand prepares a process in a folder of its own. environment is all that
// it sees of ours.
func newCommand(name string, img *image, folder string, environment []string, log io.Writer) (*command, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	// Folders above its own may be closed to it, and their names too long for a
	// socket's.
	environment = slices.DeleteFunc(environment, func(entry string) bool { return strings.HasPrefix(entry, plugin.EnvUnixSocketDir+"=") })
	cmd := &exec.Cmd{
		Path: self,
		Args: []string{launcherName, name, strconv.Itoa(os.Getpid())},
		Env: append(environment, plugin.EnvUnixSocketDir+"=.",
			"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "HOME=.", "TMPDIR=."),
		Dir:        folder,
		Stderr:     log,
		ExtraFiles: []*os.File{img.File},
		// A group of its own keeps a terminal's Ctrl-C away from it.
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	}
	c := &command{name: name, cmd: cmd, image: img, exited: make(chan struct{})}
	if c.folder, err = os.Open(folder); err != nil {
		return nil, err
	}
	c.stdout, err = cmd.StdoutPipe()
	return c, err
}

// starter runs functions on one thread that lives as long as the daemon. A
// process whose parent's thread ends gets its death signal.
var starter = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for do := range work {
			do()
		}
	}()
	return work
})

// Start implements runner.Runner.
func (c *command) Start(context.Context) error {
	started := make(chan error)
	starter() <- func() { started <- c.cmd.Start() }
	err := <-started
	return errors.Join(err, c.image.Close()) // the process has it
}

// Wait implements runner.Runner.
func (c *command) Wait(context.Context) error {
	defer close(c.exited)
	defer c.folder.Close()
	return c.cmd.Wait()
}

// state tells how the process ended; it has to have.
func (c *command) state() string { return c.cmd.ProcessState.String() }

// Kill implements runner.Runner.
func (c *command) Kill(context.Context) error {
	if c.cmd.Process == nil {
		return nil
	}
	if err := c.cmd.Process.Kill(); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Stdout implements runner.Runner.
func (c *command) Stdout() io.ReadCloser { return c.stdout }

// Stderr implements runner.Runner. What a plugin prints is taken by exec.Cmd.
func (c *command) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name implements runner.Runner.
func (c *command) Name() string { return c.name }

// ID implements runner.Runner.
func (c *command) ID() string {
	if c.cmd.Process == nil {
		return ""
	}
	return strconv.Itoa(c.cmd.Process.Pid)
}

// Diagnose implements runner.Runner.
func (c *command) Diagnose(context.Context) string { return "" }

// PluginToHost implements runner.Runner: the plugin answers on a socket in its own
// folder, or not at all.
func (c *command) PluginToHost(network, address string) (string, string, error) {
	name := filepath.Clean(address)
	if network != "unix" || filepath.Base(name) != name || !filepath.IsLocal(name) {
		return "", "", errors.New("it listens elsewhere than on a Unix socket in its working folder")
	}
	return network, fmt.Sprintf("/proc/self/fd/%d/%s", c.folder.Fd(), name), nil
}

// HostToPlugin implements runner.Runner.
func (c *command) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
