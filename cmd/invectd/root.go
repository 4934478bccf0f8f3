package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// The groups of commands, as the help lists them.
const (
	groupDaemon      = "daemon"
	groupCredentials = "credentials"
	groupTokens      = "tokens"
	groupSetup       = "setup"
)

// newRootCommand returns the whole program. Each command is made in the file
// that bears its name.
func newRootCommand(p program) *cobra.Command {
	root := &cobra.Command{
		Use:   "invectd",
		Short: "Keep credentials on this machine, and tokens valid",
		Long: `invectd keeps the credentials of workflow actions on the machine where they run,
and always has a valid token for them. "invectd serve" is the daemon; all other
commands are clients of its socket: that of --socket, else of INVECT_SOCKET, else
the first that exists of $RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR/invectd and
/run/invectd, each with /invectd.sock.

REF is the id of a credential, or its name where only one bears it.

Exit codes: 0 done, 1 error, 2 usage, 3 not found, 4 denied,
5 a person must consent, 6 try again later.`,
		Example: `  invectd dev --auto                    # see it work, alone
  invectd connect github --name work    # store a connection
  invectd token work                    # a valid access token`,
		Args:          onlyKnownCommands,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SuggestionsMinimumDistance = 2 // letters
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.AddGroup(
		&cobra.Group{ID: groupTokens, Title: "Read tokens:"},
		&cobra.Group{ID: groupCredentials, Title: "Work on credentials:"},
		&cobra.Group{ID: groupSetup, Title: "Providers and their apps:"},
		&cobra.Group{ID: groupDaemon, Title: "The daemon:"},
	)
	addGroup(root, groupTokens, newTokenCommand(p), newHeaderCommand(p), newExecCommand(p))
	addGroup(root, groupCredentials, newConnectCommand(p), newCreateCommand(p), newListCommand(p), newShowCommand(p),
		newUpdateCommand(p), newRefreshCommand(p), newTestCommand(p), newDeleteCommand(p))
	addGroup(root, groupSetup, newProvidersCommand(p), newAppsCommand(p), newPluginsCommand(p))
	addGroup(root, groupDaemon, newServeCommand(p.getenv, p.stderr), newDevCommand(p), newSecretCommand(p), newStatusCommand(p), newPolicyCommand(p), newGrantsCommand(p), newAuditCommand(p),
		newRotateKeyCommand(p), newBackupCommand(p), newRestoreCommand(p), newCheckCommand(p))
	root.AddCommand(newVersionCommand(p))
	return root
}

func addGroup(root *cobra.Command, group string, commands ...*cobra.Command) {
	for _, c := range commands {
		c.GroupID = group
		root.AddCommand(c)
	}
}

// onlyKnownCommands refuses arguments to the program itself: each is a command
// that does not exist.
func onlyKnownCommands(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if near := root.SuggestionsFor(args[0]); len(near) > 0 {
		return fmt.Errorf("there is no command %q; did you mean %q?", args[0], near[0])
	}
	return fmt.Errorf("there is no command %q", args[0])
}
