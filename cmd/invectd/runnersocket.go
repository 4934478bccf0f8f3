package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os/user"
	"path/filepath"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/invectd/invectd/socket"
)

// A runnerSocket is where runners ask, if they have a socket of their own.
type runnerSocket struct {
	Path  string      // "" if there is none
	Mode  fs.FileMode // permission bits; who gets in decides the policy
	Group int         // gid, or [socket.NoGroup]
}

// listen makes the socket; nil if there is none.
func (r runnerSocket) listen() (net.Listener, error) {
	if r.Path == "" {
		return nil, nil
	}
	return socket.Listen(r.Path, r.Mode, r.Group)
}

// runnerSettings are the flags of the runners' socket as they were given.
type runnerSettings struct{ path, mode, group string }

func (s *runnerSettings) addFlags(f *pflag.FlagSet) {
	f.StringVar(&s.path, "runner-socket", "", "`PATH` of a socket with the runners' endpoints alone, for whom the policy gives them")
	f.StringVar(&s.mode, "runner-socket-mode", "0666", "permission bits of the runners' socket, octal")
	f.StringVar(&s.group, "runner-socket-group", "", "`GROUP` of the runners' socket, a name or a number")
}

// runnerSocket checks the settings; full is the path of the other socket.
func (s *runnerSettings) runnerSocket(full string) (runnerSocket, error) {
	mode, err := parseMode("--runner-socket-mode", s.mode)
	if err != nil {
		return runnerSocket{}, err
	}
	gid := socket.NoGroup
	if s.group != "" {
		if gid, err = parseGroup("--runner-socket-group", s.group); err != nil {
			return runnerSocket{}, err
		}
	}
	if s.path != "" && filepath.Clean(s.path) == filepath.Clean(full) {
		return runnerSocket{}, fmt.Errorf("--runner-socket %s is --socket too: give each a path of its own", s.path)
	}
	return runnerSocket{s.path, mode, gid}, nil
}

// parseGroup returns the id of a group that is given by its name or number.
func parseGroup(flag, name string) (int, error) {
	id := name
	if _, err := strconv.ParseUint(name, 10, 31); err != nil {
		group, err := user.LookupGroup(name)
		if _, unknown := errors.AsType[user.UnknownGroupError](err); unknown {
			return 0, fmt.Errorf("%s %q: this machine has no such group: create it, or give its number", flag, name)
		}
		if err != nil {
			return 0, fmt.Errorf("%s %q: %w", flag, name, err)
		}
		id = group.Gid
	}
	return strconv.Atoi(id)
}
