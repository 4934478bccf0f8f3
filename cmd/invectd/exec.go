package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/invectd/invectd/socket/client"
)

func newExecCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exec REF [--env NAME] -- COMMAND [ARGUMENT...]",
		Short: "Run a command with the token in its environment",
		Long: `Run a command with an access token in its environment, as ACCESS_TOKEN or as
the variable that --env names. invectd becomes the command, so its exit code and
its signals are the command's own.

A command that runs for longer than the token lives should ask the socket itself,
each time it needs one.`,
		Example: `  invectd exec openai --env OPENAI_API_KEY -- ./nightly-report
  invectd exec work --min-validity 10m -- sh -c 'deploy --token-env ACCESS_TOKEN'`,
	}
	d, read := addDaemonFlag(p, cmd), addReadFlags(cmd)
	variable := cmd.Flags().String("env", "ACCESS_TOKEN", "`NAME` of the environment variable")
	cmd.ValidArgsFunction = d.completeRef
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		switch {
		case cmd.ArgsLenAtDash() != 1:
			return errors.New("give one credential, then -- and the command to run")
		case len(args) == 1:
			return errors.New("after -- there is no command to run")
		}
		return nil
	}
	cmd.RunE = d.with(func(cmd *cobra.Command, args []string, c *client.Client) error {
		if *variable == "" || strings.ContainsAny(*variable, "=\x00") {
			return usagef("--env %q is no name of an environment variable", *variable)
		}
		path, err := exec.LookPath(args[1])
		if err != nil {
			return fmt.Errorf("looking for the command: %w", err)
		}
		token, err := d.token(cmd.Context(), c, args[0], read)
		if err != nil {
			return err
		}
		if err := os.Setenv(*variable, token.AccessToken); err != nil {
			return fmt.Errorf("setting %s: %w", *variable, err)
		}
		// The command gets the token, and not what gets more of them.
		if err := os.Unsetenv(grantVariable); err != nil {
			return fmt.Errorf("unsetting %s: %w", grantVariable, err)
		}
		err = syscall.Exec(path, args[1:], os.Environ())
		return fmt.Errorf("running %s: %w", path, err)
	})
	return cmd
}
