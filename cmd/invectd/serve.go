package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
)

// newServeCommand returns `invectd serve`. It logs to stderr.
func newServeCommand(getenv func(string) string, stderr io.Writer) *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the daemon",
		Long: `Run the daemon.

The encryption key is ` + keyVariable + `, or the file that ` + keyFileVariable + `
names, or the systemd credential ` + keyCredential + `. "invectd secret" prints a new one.

Each flag is also an environment variable, INVECT_ and its name in capitals with
underscores, and a key of the YAML file that --config names. A flag wins over the
environment, and the environment over the file.`,
		Example: `  export INVECT_ENCRYPTION_KEY=$(invectd secret)
  invectd serve --socket /run/invectd/invectd.sock --data-dir /var/lib/invectd`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := slog.New(slog.NewJSONHandler(stderr, nil))
			// A reload ends no daemon, be it one without a policy, or one that starts or stops.
			hangups := make(chan os.Signal, 1)
			signal.Notify(hangups, syscall.SIGHUP)
			defer signal.Stop(hangups)
			key, err := readKey(getenv)
			if err != nil {
				return err
			}
			if err := wipeVariable(keyVariable); err != nil {
				log.Warn("root can still read the key under /proc/PID/environ", "error", err)
			}
			if err := harden(); err != nil {
				return err
			}
			if err := s.complete(cmd.Flags(), getenv); err != nil {
				return err
			}
			config, err := s.daemonConfig(key)
			if err != nil {
				return err
			}
			return runDaemon(cmd.Context(), config, log, notifySystemd)
		},
	}
	s.addFlags(cmd.Flags(), getenv)
	return cmd
}

// notifySystemd tells the service manager, if there is one, that the daemon
// answers.
func notifySystemd(context.Context, listeners) {
	if os.Getenv("NOTIFY_SOCKET") != "" {
		// A manager that does not listen will time out and say so itself.
		_, _ = daemon.SdNotify(false, daemon.SdNotifyReady)
	}
}
