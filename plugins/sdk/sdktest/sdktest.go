// Package sdktest checks a plugin as the daemon would, in one call.
package sdktest

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/plugins"
	"github.com/invectd/invectd/plugins/protocol"
	"github.com/invectd/invectd/plugins/sdk"
)

// callTimeout is how long the daemon waits for an answer.
const callTimeout = 5 * time.Second

// Check serves a plugin over gRPC and fails the test where the daemon would not
// take it: a definition that is not valid, an answer that is too long or comes too
// late, a hook that panics or moves a request to another host.
func Check(t testing.TB, p sdk.Plugin) {
	t.Helper()
	c := &check{t, serve(t, p)}
	offer, err := c.provider.Describe(c.timed(), &protocol.DescribeRequest{DaemonVersion: "test"})
	if err != nil {
		t.Fatalf("Describe() = %v", err)
	}
	if len(offer.GetProviders()) == 0 {
		t.Fatal("the plugin offers no provider")
	}
	seen := map[string]bool{}
	for i, provider := range offer.GetProviders() {
		d, err := plugins.Parse(fmt.Sprintf("Providers[%d]", i), provider.GetDefinition())
		if err == nil {
			err = d.Check(nil)
		}
		switch {
		case err != nil:
			t.Errorf("Providers[%d]: %v", i, err)
			continue
		case d.Override || len(d.Hooks) > 0:
			t.Errorf("Providers[%d]: a plugin's definition has neither Override nor Hooks in it", i)
		case seen[d.ID]:
			t.Errorf("Providers[%d]: the id %q is taken", i, d.ID)
		}
		seen[d.ID] = true
		for _, hook := range provider.GetHooks() {
			c.hook(&d, hook)
		}
	}
}

type check struct {
	testing.TB
	provider protocol.ProviderClient
}

// timed returns a context that ends when the daemon's patience does.
func (c *check) timed() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	c.Cleanup(cancel)
	return ctx
}

// serve runs the plugin's service in this process.
func serve(t testing.TB, p sdk.Plugin) protocol.ProviderClient {
	t.Helper()
	listener := bufconn.Listen(protocol.MaxMessage)
	server := grpc.NewServer(grpc.MaxSendMsgSize(protocol.MaxMessage))
	protocol.RegisterProviderServer(server, sdk.NewServer(p))
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient("passthrough:plugin",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return protocol.NewProviderClient(conn)
}

// hook calls one hook as in a flow. A hook may refuse what it is shown here: it
// then has to say why.
func (c *check) hook(d *broker.Definition, hook string) {
	c.Helper()
	inputs := map[string]string{}
	for name, input := range d.Inputs {
		inputs[name] = input.Default
	}
	client := &protocol.Client{Id: "client", Secret: "client-secret"}
	target, err := broker.ExpandURL(d.TokenURL, inputs)
	if err != nil {
		target = "https://token.example/token"
	}
	switch hook {
	case protocol.HookAuthorizationURL:
		before := "https://authorize.example/authorize?response_type=code&state=s"
		answer, err := c.provider.AuthorizationURL(c.timed(), &protocol.AuthorizationURLRequest{ProviderId: d.ID, Inputs: inputs, Url: before})
		c.answered(d, hook, err, before, answer.GetUrl())
	case protocol.HookCallback:
		_, err := c.provider.Callback(c.timed(), &protocol.CallbackRequest{ProviderId: d.ID, Inputs: inputs, Client: client, Query: "code=c&state=s"})
		c.answered(d, hook, err, "", "")
	case protocol.HookTokenRequest:
		answer, err := c.provider.TokenRequest(c.timed(), &protocol.TokenRequestRequest{
			ProviderId: d.ID, Inputs: inputs, Client: client, Operation: "exchange", Request: &protocol.HTTPRequest{
				Method: "POST", Url: target, Body: []byte("grant_type=authorization_code&code=c"),
				Headers: map[string]string{"Content-Type": "application/x-www-form-urlencoded"},
			},
		})
		c.answered(d, hook, err, target, answer.GetRequest().GetUrl())
	case protocol.HookTokenResponse:
		for _, body := range []string{`{"access_token":"a","token_type":"Bearer"}`, `{"error":"invalid_grant"}`, ``, `<html>`} {
			_, err := c.provider.TokenResponse(c.timed(), &protocol.TokenResponseRequest{
				ProviderId: d.ID, Inputs: inputs, Operation: "exchange", Response: &protocol.HTTPResponse{Status: 200, Body: []byte(body)},
			})
			c.answered(d, hook, err, "", "")
		}
	default:
		c.Errorf("provider %q declares a hook %q, which the daemon does not have", d.ID, hook)
	}
}

// answered judges how a hook answered, and whether it left a request on its host.
func (c *check) answered(d *broker.Definition, hook string, err error, before, after string) {
	c.Helper()
	switch {
	case status.Code(err) == codes.FailedPrecondition && status.Convert(err).Message() == "":
		c.Errorf("provider %q: %s refused without a reason", d.ID, hook)
	case status.Code(err) == codes.FailedPrecondition:
	case err != nil:
		c.Errorf("provider %q: %s failed: %v", d.ID, hook, err)
	case !broker.SameHost(before, after):
		c.Errorf("provider %q: %s moved the request from %s to %s; its scheme and host have to stay", d.ID, hook, before, after)
	}
}
