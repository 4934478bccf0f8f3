package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/cmd/invectd/internal/policyfile"
)

// A policySource is the policy of the daemon and what keeps it up to date.
type policySource struct {
	*broker.Policy
	watcher *policyfile.Watcher // nil without a file
}

// startPolicy puts the policy of a file in force, or the one without a file,
// which lets in root and the daemon's own user.
func startPolicy(file string, log *slog.Logger) (policySource, error) {
	p := policySource{Policy: broker.NewPolicy(uint32(os.Geteuid()))}
	if file == "" {
		return p, nil
	}
	var err error
	p.watcher, err = policyfile.Start(file, p.Policy, log)
	return p, err
}

// run follows the file until ctx ends; SIGHUP has it read again at once.
func (p policySource) run(ctx context.Context) error {
	if p.watcher == nil {
		return nil
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	return p.watcher.Run(ctx, hangups)
}
