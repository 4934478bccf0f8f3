package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/invectd/invectd/socket/client"
)

func newUpdateCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "update REF",
		Short: "Change a credential",
		Long: `Change the fields that are given and nothing else. Of --config-file the keys are
merged: null removes one. --active=false switches a credential off.`,
		Example: `  invectd update openai --secret-file new-key.txt
  invectd update work --name "Work mail" --active=false`,
		Args: cobra.ExactArgs(1),
	}
	d, asJSON := addDaemonFlag(p, cmd), addJSONFlag(cmd)
	cmd.ValidArgsFunction = d.completeRef
	u := updateFlags{configFlag: configFlag{program: p}}
	flags := cmd.Flags()
	name := flags.String("name", "", "new name")
	kind := flags.String("type", "", "new type for front ends")
	description := flags.String("description", "", "new text for people")
	workspace := flags.String("workspace", "", "new workspace id")
	active := flags.Bool("active", true, "whether it can be used")
	shared := flags.Bool("shared", false, "whether it is marked as shared")
	flags.StringVar(&u.metadataFile, "metadata-file", "", "`FILE` with new metadata as a JSON object")
	u.add(flags)
	cmd.RunE = d.with(func(cmd *cobra.Command, args []string, c *client.Client) error {
		input := client.CredentialInput{}
		set(cmd, "name", &input.Name, name)
		set(cmd, "type", &input.Type, kind)
		set(cmd, "description", &input.Description, description)
		set(cmd, "workspace", &input.WorkspaceID, workspace)
		set(cmd, "active", &input.IsActive, active)
		set(cmd, "shared", &input.IsShared, shared)
		if err := u.fill(cmd.Context(), c, args[0], &input); err != nil {
			return err
		}
		credential, err := c.UpdateCredential(cmd.Context(), args[0], input)
		if err != nil {
			return err
		}
		return printOutcome(p, *asJSON, "changed", credential)
	})
	return cmd
}

// set fills a field of a request if its flag is given, be it with an empty value.
func set[T any](cmd *cobra.Command, flag string, field **T, value *T) {
	if cmd.Flags().Changed(flag) {
		*field = value
	}
}

// updateFlags are those whose values are in files.
type updateFlags struct {
	configFlag
	metadataFile string
}

// fill reads the files into a request. Where a secret is among them, it asks the
// daemon for the credential's kind, which says what the secret is.
func (u *updateFlags) fill(ctx context.Context, c *client.Client, ref string, input *client.CredentialInput) (err error) {
	authType := ""
	if u.secretFile != "" {
		credential, err := c.Credential(ctx, ref)
		if err != nil {
			return err
		}
		authType = credential.AuthType
	}
	if input.Config, err = u.read(ctx, authType); err != nil {
		return err
	}
	if u.metadataFile != "" {
		input.Metadata, err = u.readObject(u.metadataFile)
	}
	return err
}
