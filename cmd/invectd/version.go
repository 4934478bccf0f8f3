package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newVersionCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version of this program",
		Long:    `Print the version of this program, the commit it was built from, and Go's version.`,
		Example: `  invectd version`,
		Args:    cobra.NoArgs,
	}
	asJSON := addJSONFlag(cmd)
	cmd.Flags().Lookup("json").Usage = "print it as JSON"
	cmd.RunE = func(*cobra.Command, []string) error {
		if *asJSON {
			return printJSON(p.stdout, map[string]string{"version": version(), "commit": commit(), "go": runtime.Version()})
		}
		_, err := fmt.Fprintf(p.stdout, "invectd %s, commit %s, %s\n", version(), commit(), runtime.Version())
		return err
	}
	return cmd
}

// version is that of the module, as the Go command stamped it: a tag, or a
// pseudo-version made of the commit; "devel" where it did not.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}

// commit is the one that the program was built from, with "+dirty" where the
// tree had changes; "unknown" outside a repository.
func commit() string {
	revision, dirty := "unknown", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			switch {
			case setting.Key == "vcs.revision":
				revision = setting.Value
			case setting.Key == "vcs.modified" && setting.Value == "true":
				dirty = "+dirty"
			}
		}
	}
	return revision + dirty
}
