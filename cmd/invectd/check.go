package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/invectd/invectd/broker/store"
	"github.com/invectd/invectd/cmd/invectd/internal/policyfile"
)

func newCheckCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Verify the keyring and every record of the store, or a policy file",
		Long: `Verify the keyring and every record of the store, while the daemon is stopped.
What is damaged is named, and what to do about it. The encryption key is given as
to "invectd serve".

With --policy, verify a policy file instead, for which neither the daemon nor a key
is needed. "invectd policy test --file" explains what its rules decide.`,
		Example: `  systemctl stop invectd
  invectd check --data-dir /var/lib/invectd
  invectd check --policy new.yaml`,
		Args: cobra.NoArgs,
	}
	dataDir := addDataDirFlag(p, cmd.Flags())
	policy := cmd.Flags().String("policy", "", "policy `FILE` to verify, instead of the store")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if *policy != "" {
			return checkPolicy(p, *policy)
		}
		key, err := takeKey(p)
		if err != nil {
			return err
		}
		db, err := store.Open(store.Config{Dir: *dataDir, Key: key, Existing: true, Log: warnings(p)})
		if err != nil {
			return fmt.Errorf("opening the store in %s: %w", *dataDir, err)
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		found, err := db.Check(cmd.Context())
		if err != nil {
			return err
		}
		if db.Repairs() > 0 {
			fmt.Fprintf(p.stderr, "the store in %s was damaged and has been repaired from its journal: look after the disk, and back up\n", *dataDir)
		}
		if found.Outdated > 0 {
			fmt.Fprintf(p.stderr, "%d pieces of it are sealed under a data key from before a key rotation; the daemon seals them anew as it runs\n", found.Outdated)
		}
		_, err = fmt.Fprintf(p.stdout, "the store in %s is whole: %d records after %d commits\n", *dataDir, found.Records, found.Commits)
		return err
	}
	return cmd
}

// checkPolicy reads a policy file as the daemon does.
func checkPolicy(p program, file string) error {
	rules, err := policyfile.Load(file)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "the policy in %s can be used: %d rules\n", file, len(rules))
	return err
}

// addDataDirFlag adds --data-dir to a command that works without the daemon.
func addDataDirFlag(p program, f *pflag.FlagSet) *string {
	place := cmp.Or(p.getenv(variable("data-dir")), defaultDataDir(p.getenv))
	return f.String("data-dir", place, "`DIR` of the encrypted store")
}

// takeKey reads the key and guards it, as serve does.
func takeKey(p program) (store.Key, error) {
	key, err := readKey(p.getenv)
	if err != nil {
		return store.Key{}, err
	}
	if err := wipeVariable(keyVariable); err != nil {
		warnings(p).Warn("root can still read the key under /proc/PID/environ", "error", err)
	}
	return key, harden()
}

// warnings shows what a person has to know, and not how it is done.
func warnings(p program) *slog.Logger {
	return slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// mendSteps tell what to do about a damaged store, where the damage is contained
// in the records that are named and where it is not.
func mendSteps(contained bool) []string {
	if contained {
		return []string{
			"all other records are whole and served: start the daemon, delete what is named and connect it again (invectd status names it, too)",
			"or put the last backup in its place, as invectd restore --help says",
		}
	}
	return []string{
		"stop the daemon, and keep a copy of the folder as it is",
		"put the last backup in its place: move all but \"head\", \"audit\" and \"audit.head\" out of the folder, then invectd restore FILE --data-dir DIR",
		"verify it with: invectd check --data-dir DIR",
	}
}
