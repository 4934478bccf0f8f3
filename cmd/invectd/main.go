// Command invectd is a token broker for workflow actions: the daemon itself, and
// the commands that speak to it over its Unix socket.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/invectd/invectd/plugins/host"
)

func main() {
	host.Launch()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// What does not end by itself is ended by a second signal.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], program{os.Stdin, os.Stdout, os.Stderr, os.Getenv}))
}

// A program is what every command has at hand.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
}

// run carries out one command line and returns the exit code.
func run(ctx context.Context, args []string, p program) int {
	began := false
	root := newRootCommand(p)
	root.PersistentPreRun = func(*cobra.Command, []string) { began = true }
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !began {
		// What fails before a command begins is the command line.
		err = &usageError{err.Error()}
	}
	if err == nil {
		return exitOK
	}
	report(p.stderr, cmd.CommandPath(), err)
	return exitCode(err)
}
