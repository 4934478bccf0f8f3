package main

import (
	"fmt"
	"net"

	"github.com/coreos/go-systemd/v22/activation"
)

// The names that a socket unit gives to what it listens on (FileDescriptorName=
// of systemd.socket(5)).
const (
	activatedFull   = "socket"
	activatedRunner = "runner"
)

// activated returns the sockets that systemd made before it started the daemon;
// nil for those that it did not. Their paths, modes and groups are its business.
func activated() (full, runner net.Listener, err error) {
	handed, err := activation.ListenersWithNames()
	if err != nil {
		return nil, nil, fmt.Errorf("taking over the sockets of systemd: %w", err)
	}
	defer func() {
		if err != nil {
			for _, list := range handed {
				for _, ln := range list {
					ln.Close()
				}
			}
		}
	}()
	for name, list := range handed {
		for _, ln := range list {
			switch {
			case ln.Addr().Network() != "unix":
				return nil, nil, fmt.Errorf("systemd hands over %s, which is no Unix socket", ln.Addr())
			case name == activatedFull && full == nil:
				full = ln
			case name == activatedRunner && runner == nil:
				runner = ln
			default:
				return nil, nil, fmt.Errorf("systemd hands over the socket %s as %q: name one each by FileDescriptorName=%s and =%s", ln.Addr(), name, activatedFull, activatedRunner)
			}
		}
	}
	return full, runner, nil
}
