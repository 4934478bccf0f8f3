package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

func newConnectCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "connect PROVIDER",
		Short: "Connect to an OAuth2 provider, in a browser or on another device",
		Long: `Connect to an OAuth2 provider: this opens its consent page in a browser, or prints
the address, receives the answer on 127.0.0.1 and stores the connection.

The client is the one that "invectd apps set" registered, or that of --client-id.
It has to be allowed to redirect to http://127.0.0.1/callback; where the provider
insists on one port, name it with --port. The browser has to be on this machine:
elsewhere forward the port, as with ssh -L 8400:127.0.0.1:8400 and --port 8400.

Where the provider takes it, --device needs no browser here at all: it prints a code
and an address to enter it at, on any device. The daemon waits for the consent; with
Ctrl-C it stops to.`,
		Example: `  invectd connect github --name work
  invectd connect microsoft --scope Mail.Read --scope offline_access --input tenant=example.com
  invectd connect github --device       # over ssh: consent on a telephone
  invectd connect --existing work       # after the provider took the consent back`,
		Args: cobra.MaximumNArgs(1),
	}
	d, asJSON := addDaemonFlag(p, cmd), addJSONFlag(cmd)
	cmd.ValidArgsFunction = d.completeProvider
	f := connectFlags{program: p}
	f.add(cmd.Flags())
	cmd.RunE = d.with(func(cmd *cobra.Command, args []string, c *client.Client) error {
		request, err := f.request(cmd, args)
		if err != nil {
			return err
		}
		connect := f.connect
		if f.device {
			connect = f.connectDevice
		}
		credential, err := connect(cmd.Context(), c, request)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(p.stdout, credential)
		}
		if err := printOutcome(p, false, "connected", credential); err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.stdout, "read it:  invectd token %[1]s\n          curl --unix-socket %[2]s http://localhost/credentials/%[1]s/token\n",
			credential.ID, d.path)
		return err
	})
	return cmd
}

// connectFlags say what to ask the provider for, and how.
type connectFlags struct {
	program
	name, existing     string
	clientID           string
	clientSecretFile   string
	scopes             []string
	inputs, parameters map[string]string
	port               uint16
	noBrowser, device  bool
	timeout            time.Duration
}

func (f *connectFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.name, "name", "", "name of the credential (default the provider's)")
	flags.StringVar(&f.existing, "existing", "", "`REF` of a credential to reconnect, instead of a new one")
	flags.StringArrayVar(&f.scopes, "scope", nil, "scope to ask for, once for each (default the provider's)")
	flags.StringVar(&f.clientID, "client-id", "", "client to use instead of the registered app")
	flags.StringVar(&f.clientSecretFile, "client-secret-file", "", "`FILE` with that client's secret, - for standard input")
	addMap(flags, &f.inputs, "input", "`NAME=VALUE` that the provider's definition asks for, such as a tenant")
	addMap(flags, &f.parameters, "param", "`NAME=VALUE` to add to the consent page's address")
	flags.Uint16Var(&f.port, "port", 0, "port of the redirect on 127.0.0.1 (default any)")
	flags.BoolVar(&f.noBrowser, "no-browser", false, "only print the address")
	flags.BoolVar(&f.device, "device", false, "consent on another device, by a code")
	flags.DurationVar(&f.timeout, "timeout", broker.AuthorizationLifetime, "how long to wait for consent")
}

// request makes the request that starts the flow, but for its redirect URI.
func (f *connectFlags) request(cmd *cobra.Command, args []string) (r client.StartRequest, err error) {
	switch {
	case len(args) == 0 && f.existing == "":
		return r, usagef("name the provider, or with --existing the credential to reconnect")
	case f.existing != "" && f.name != "":
		return r, usagef("--name is for a new credential; `invectd update` changes that of one that exists")
	case f.clientSecretFile != "" && f.clientID == "":
		return r, usagef("--client-secret-file needs --client-id")
	case f.device && (f.port != 0 || f.noBrowser || len(f.parameters) > 0):
		return r, usagef("--port, --no-browser and --param are for consent in a browser, not for --device")
	case f.timeout <= 0:
		return r, usagef("--timeout takes a duration such as 5m")
	}
	r = client.StartRequest{
		ClientID: f.clientID, Scopes: f.scopes, CredentialName: f.name, ExistingCredentialID: f.existing,
		Inputs: f.inputs, Params: f.parameters,
	}
	if len(args) > 0 {
		r.ProviderID = args[0]
	}
	if f.clientSecretFile != "" {
		r.ClientSecret, err = f.readSecret(cmd.Context(), f.clientSecretFile, "client secret")
	}
	return r, err
}

var errNoConsent = errors.New("nobody answered the consent page in time, and nothing was stored")

// connect goes through the authorization-code flow of RFC 6749, section 4.1, as
// a native app does (RFC 8252, section 7.3).
func (f *connectFlags) connect(ctx context.Context, c *client.Client, request client.StartRequest) (client.Credential, error) {
	l, err := listenLoopback(f.port)
	if err != nil {
		return client.Credential{}, err
	}
	request.RedirectURI = l.redirectURI()
	started, err := c.Start(ctx, request)
	if err != nil {
		return client.Credential{}, errors.Join(err, l.listener.Close())
	}
	l.serve(started.State)
	defer l.close()
	f.show(started.AuthorizationURL)

	waiting, cancel := context.WithTimeoutCause(ctx, f.timeout, errNoConsent)
	defer cancel()
	answer, err := f.await(waiting, l)
	if err != nil {
		return client.Credential{}, err
	}
	credential, err := exchange(ctx, c, started.State, answer)
	l.finish(err == nil)
	return credential, err
}

// exchange hands what the browser brought on to the daemon.
func exchange(ctx context.Context, c *client.Client, state string, answer redirect) (client.Credential, error) {
	if answer.refusal == "" {
		return c.Callback(ctx, client.CallbackRequest{Code: answer.code, State: state, Issuer: answer.issuer, Params: answer.params})
	}
	// It uses the state up, as any callback does. What it answers is a page.
	_, _ = c.Do(ctx, "GET", "/credentials/oauth2/callback", url.Values{"state": {state}, "error": {answer.refusal}}, nil, nil)
	if answer.refusal == "access_denied" {
		return client.Credential{}, &client.Error{Code: answer.refusal, Message: "access was not granted, so nothing was stored"}
	}
	return client.Credential{}, fmt.Errorf("the provider refused with %q, so nothing was stored", broker.PlainErrorCode(answer.refusal))
}

// show prints the address of the consent page, and opens it where it can.
func (f *connectFlags) show(address string) {
	if f.noBrowser || !openBrowser(f.getenv, address) {
		fmt.Fprintf(f.stderr, "Open this in a browser on this machine:\n\n  %s\n\n", address)
		return
	}
	fmt.Fprintf(f.stderr, "Your browser is being asked to open this:\n\n  %s\n\n", address)
}

// await waits for the browser's redirect, and shows on a terminal how long it
// will still do so.
func (f *connectFlags) await(ctx context.Context, l *loopback) (redirect, error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	_, shows := terminal(f.stderr)
	for {
		f.showLeft(ctx, shows)
		select {
		case answer := <-l.arrived:
			f.endLine(shows)
			return answer, nil
		case <-ctx.Done():
			f.endLine(shows)
			if errors.Is(context.Cause(ctx), errNoConsent) {
				return redirect{}, errNoConsent
			}
			return redirect{}, errInterrupted
		case <-tick.C:
		}
	}
}

func (f *connectFlags) showLeft(ctx context.Context, shows bool) {
	if deadline, ok := ctx.Deadline(); ok && shows {
		fmt.Fprintf(f.stderr, "\rWaiting for consent, %s left. Ctrl-C ends it. ", time.Until(deadline).Round(time.Second))
	}
}

func (f *connectFlags) endLine(shows bool) {
	if shows {
		fmt.Fprintln(f.stderr)
	}
}
