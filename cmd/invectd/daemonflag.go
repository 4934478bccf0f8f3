package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

// A daemonFlag is --socket and --grant-file of the commands that are clients of the
// daemon.
type daemonFlag struct {
	program
	path      string
	grantFile string
}

// addDaemonFlag adds them to a command.
func addDaemonFlag(p program, cmd *cobra.Command) *daemonFlag {
	d := &daemonFlag{program: p}
	cmd.Flags().StringVar(&d.path, "socket", "", "`PATH` of the daemon's socket (default INVECT_SOCKET, else where serve makes it)")
	cmd.Flags().StringVar(&d.grantFile, "grant-file", "", "`FILE` with the secret of a grant to present (default the variable "+grantVariable+")")
	return d
}

// grantVariable holds the secret of a grant to present.
const grantVariable = "INVECT_GRANT"

// with makes a command of what is to be done with a client for the daemon.
func (d *daemonFlag) with(do func(cmd *cobra.Command, args []string, c *client.Client) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := d.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		return do(cmd, args, c)
	}
}

// dial returns a client for the daemon, and keeps the path of its socket.
// Nothing is sent yet.
func (d *daemonFlag) dial() (*client.Client, error) {
	path, err := d.find()
	if err != nil {
		return nil, err
	}
	d.path = path
	grant := strings.TrimSpace(d.getenv(grantVariable))
	if d.grantFile != "" {
		text, err := readKeyFile(d.grantFile)
		if err != nil {
			return nil, fmt.Errorf("reading the grant: %w", err)
		}
		grant = strings.TrimSpace(text)
	}
	if strings.ContainsFunc(grant, unicode.IsControl) {
		return nil, errors.New("the grant has control characters: it is not as it was minted")
	}
	c := client.New(path)
	c.UseGrant(broker.NewSecret(grant))
	return c, nil
}

// find returns the socket that was named, else the first that exists.
func (d *daemonFlag) find() (string, error) {
	if d.path != "" {
		return d.path, nil
	}
	if path := d.getenv("INVECT_SOCKET"); path != "" {
		return path, nil
	}
	var tried []string
	for _, path := range defaultSockets(d.getenv) {
		info, err := os.Stat(path)
		switch {
		case err == nil && info.Mode().Type() == fs.ModeSocket:
			return path, nil
		case errors.Is(err, fs.ErrPermission):
			path += " (which you may not look at)"
		}
		tried = append(tried, path)
	}
	return "", fmt.Errorf("no invectd is running: there is no socket at %s; start it with `invectd serve`, or name its socket with --socket or INVECT_SOCKET",
		strings.Join(tried, " or "))
}

// completionTimeout bounds what a shell waits for the daemon.
const completionTimeout = time.Second

// completeRef completes the name of a credential.
func (d *daemonFlag) completeRef(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return d.complete(cmd, args, func(ctx context.Context, c *client.Client) (words []string) {
		credentials, _, _ := c.Credentials(ctx, client.Filter{})
		for _, credential := range credentials {
			words = append(words, cobra.CompletionWithDesc(credential.Name, credential.Status))
		}
		return words
	})
}

// completeProvider completes the id of a provider.
func (d *daemonFlag) completeProvider(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return d.complete(cmd, args, func(ctx context.Context, c *client.Client) (words []string) {
		providers, _ := c.Providers(ctx)
		for _, provider := range providers {
			words = append(words, cobra.CompletionWithDesc(provider.ID, provider.Name))
		}
		return words
	})
}

// complete completes a first argument. A daemon that cannot be asked completes
// nothing: the shell has no place for an error.
func (d *daemonFlag) complete(cmd *cobra.Command, args []string, ask func(context.Context, *client.Client) []string) ([]string, cobra.ShellCompDirective) {
	c, err := d.dial()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	return ask(ctx, c), cobra.ShellCompDirectiveNoFileComp
}
