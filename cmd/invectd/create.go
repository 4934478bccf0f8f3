package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/invectd/invectd/socket/client"
)

func newCreateCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create --name NAME --auth-type KIND",
		Short: "Store a credential",
		Long: `Store a credential. To connect to an OAuth2 provider, use "invectd connect".

The secret of an apiKey, bearer or basic credential comes from --secret-file; at a
terminal you are asked for it. All other kinds, and further fields, come from
--config-file, a JSON object: for oauth2 tokens brought from elsewhere its keys
are accessToken, refreshToken and expiresAt.

The key file of a Google service account is taken as it is; --scope says what for,
and --subject whom of the domain it acts for. Other grants that need no person name
grantType: client_credentials, or with urn:ietf:params:oauth:grant-type: before them
jwt-bearer (privateKey, issuer, subject, audience, claims) and token-exchange
(subjectToken or subjectCredentialId, audience, resource, requestedTokenType).`,
		Example: `  invectd create --name openai --auth-type apiKey --secret-file key.txt
  pass show jira | invectd create --name jira --auth-type basic --username ada --secret-file -
  invectd create --name robot --auth-type oauth2 --provider google --config-file tokens.json
  invectd create --name sheets --auth-type oauth2 --provider google --config-file key.json \
    --scope https://www.googleapis.com/auth/spreadsheets --subject ada@example.com`,
		Args: cobra.NoArgs,
	}
	d, asJSON := addDaemonFlag(p, cmd), addJSONFlag(cmd)
	f := createFlags{configFlag: configFlag{program: p}}
	f.add(cmd.Flags())
	cmd.RunE = d.with(func(cmd *cobra.Command, _ []string, c *client.Client) error {
		input, err := f.input(cmd.Context())
		if err != nil {
			return err
		}
		credential, err := c.CreateCredential(cmd.Context(), input)
		if err != nil {
			return err
		}
		return printOutcome(p, *asJSON, "created", credential)
	})
	return cmd
}

// createFlags say what to store.
type createFlags struct {
	configFlag
	name, authType, kind   string
	provider               string
	description, workspace string
	metadataFile           string
	scopes                 []string
	shared                 bool
}

func (f *createFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.name, "name", "", "name of the credential")
	flags.StringVar(&f.authType, "auth-type", "", "kind: apiKey, bearer, basic, oauth2, jwt, awsSigV4, connectionString or custom")
	flags.StringVar(&f.kind, "type", "", "type for front ends (default \"http-api\")")
	flags.StringVar(&f.provider, "provider", "", "id of the provider of an oauth2 credential")
	flags.StringVar(&f.description, "description", "", "text for people")
	flags.StringVar(&f.workspace, "workspace", "", "id of the workspace that it belongs to")
	flags.StringVar(&f.metadataFile, "metadata-file", "", "`FILE` with metadata as a JSON object")
	flags.StringArrayVar(&f.scopes, "scope", nil, "scope to ask for, once for each, where the grant needs no person (default the provider's)")
	flags.BoolVar(&f.shared, "shared", false, "mark it as shared")
	f.configFlag.add(flags)
}

// input reads the files and makes the request.
func (f *createFlags) input(ctx context.Context) (in client.CredentialInput, err error) {
	if f.name == "" || f.authType == "" {
		return in, usagef("give --name, and the kind of credential with --auth-type")
	}
	if _, asks := terminal(f.stdin); asks && secretKeys[f.authType] != "" && f.secretFile == "" && f.configFile == "" {
		f.secretFile = stdinName
	}
	in = client.CredentialInput{
		Name: &f.name, AuthType: &f.authType, Type: given(f.kind), Provider: given(f.provider),
		Description: given(f.description), WorkspaceID: given(f.workspace), IsShared: &f.shared,
	}
	if in.Config, err = f.read(ctx, f.authType); err != nil {
		return in, err
	}
	if f.metadataFile != "" {
		in.Metadata, err = f.readObject(f.metadataFile)
	}
	if len(f.scopes) > 0 {
		if in.Metadata == nil {
			in.Metadata = map[string]any{}
		}
		in.Metadata["scopes"] = f.scopes
	}
	return in, err
}

// given is a field of a request; nil where it is not to be sent.
func given(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// printOutcome says in a line what became of a credential, or prints it as JSON.
func printOutcome(p program, asJSON bool, what string, c client.Credential) error {
	if asJSON {
		return printJSON(p.stdout, c)
	}
	expiry := ""
	if c.ExpiresAt != nil {
		expiry = ", token ends " + when(c.ExpiresAt, time.Now())
	}
	_, err := fmt.Fprintf(p.stdout, "%s %q (%s): %s%s\n", what, printable(c.Name), c.ID, c.Status, expiry)
	return err
}
