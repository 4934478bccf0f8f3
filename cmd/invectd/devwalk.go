package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/invectd/invectd/cmd/invectd/internal/sandbox"
	"github.com/invectd/invectd/socket/client"
)

const (
	// walkTimeout ends a walk that something keeps waiting, beyond the lives of
	// the tokens that it sees end.
	walkTimeout = 30 * time.Second
	// frontEnd is where a front end of its own receives the second redirect. It
	// is never opened.
	frontEnd = "http://127.0.0.1:1" + loopbackPath
)

// A walk goes alone through what a person, a provider and a runner do with
// invectd, and says what it saw.
type walk struct {
	out     io.Writer
	began   time.Time
	api     *client.Client
	runner  *http.Client // speaks plain HTTP over the socket, as any runner can
	browser *http.Client
	server  *sandbox.Server

	id    string       // of the credential
	token client.Token // as last read
}

func newWalk(out io.Writer, api *client.Client, socket string, server *sandbox.Server) *walk {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	return &walk{
		out: out, began: time.Now(), api: api, server: server,
		runner:  &http.Client{Transport: &http.Transport{DialContext: dial}},
		browser: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	}
}

// run takes all steps, and stops at the first that fails.
func (w *walk) run(ctx context.Context) error {
	defer w.runner.CloseIdleConnections()
	ctx, cancel := context.WithTimeoutCause(ctx, walkTimeout, errors.New("it took too long"))
	defer cancel()
	for _, step := range []struct {
		what string
		take func(context.Context) error
	}{
		{"registering the sandbox", w.register},
		{"connecting", w.connect},
		{"reading the token", w.read},
		{"waiting for the first renewal", w.watchRenewal},
		{"waiting for the second renewal", w.watchRenewal},
		{"checking the rotation of refresh tokens", w.checkRotation},
		{"withdrawing consent", w.withdraw},
		{"reconnecting", w.reconnect},
	} {
		if err := step.take(ctx); err != nil {
			if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
				err = fmt.Errorf("%w: %w", cause, err)
			}
			return fmt.Errorf("dev --auto: %s: %w", step.what, err)
		}
	}
	_, err := fmt.Fprintf(w.out, "\nAll of it worked, in %.1f s. Without --auto, `invectd dev` stays up for you to try.\n", time.Since(w.began).Seconds())
	return err
}

// saw says what was seen, and when.
func (w *walk) saw(format string, args ...any) error {
	_, err := fmt.Fprintf(w.out, "%5.1fs ✓ %s\n", time.Since(w.began).Seconds(), fmt.Sprintf(format, args...))
	return err
}

func (w *walk) register(ctx context.Context) error {
	status, err := w.api.Status(ctx)
	if err != nil {
		return err
	}
	if err := w.saw("the daemon listens on %s and knows %d providers", status.Listeners["socket"], status.Providers); err != nil {
		return err
	}
	if err := registerSandbox(ctx, w.api, w.server); err != nil {
		return err
	}
	return w.saw("the sandbox at %s is registered over the API as %q", w.server.Issuer(), devProvider)
}

// connect gives consent as a person does, and lets the browser go to the
// daemon's own callback.
func (w *walk) connect(ctx context.Context) error {
	started, err := w.api.Start(ctx, client.StartRequest{ProviderID: devProvider, CredentialName: "demo"})
	if err != nil {
		return err
	}
	target, err := sandbox.Decide(ctx, started.AuthorizationURL, true)
	if err != nil {
		return err
	}
	if err := w.saw("%s gave consent on the sandbox's page", sandbox.Person); err != nil {
		return err
	}
	before, err := w.connections(ctx)
	if err != nil {
		return err
	}
	status, _, err := fetch(ctx, w.browser, target.String(), "")
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("the callback answered %d, want 200", status)
	}
	after, err := w.connections(ctx)
	if err != nil {
		return err
	}
	fresh := slices.DeleteFunc(after, func(c client.Credential) bool {
		return slices.ContainsFunc(before, func(old client.Credential) bool { return old.ID == c.ID })
	})
	if len(fresh) != 1 || fresh[0].Status != "active" {
		return fmt.Errorf("there are %d new credentials, want one, active", len(fresh))
	}
	w.id = fresh[0].ID
	return w.saw("the browser's redirect came to the daemon, which stored the credential %q", fresh[0].Name)
}

// connections are the credentials of the sandbox, those of an earlier try-out
// included.
func (w *walk) connections(ctx context.Context) ([]client.Credential, error) {
	credentials, _, err := w.api.Credentials(ctx, client.Filter{Provider: devProvider})
	return credentials, err
}

// read asks for the token over the socket, and uses it.
func (w *walk) read(ctx context.Context) error {
	before := time.Now()
	token, err := w.readToken(ctx)
	if err != nil {
		return err
	}
	took := time.Since(before)
	if err := w.saw("GET %s answered in %s: generation %d, ends %s",
		w.tokenPath(), took.Round(10*time.Microsecond), token.Generation, when(&token.ExpiresAt, time.Now())); err != nil {
		return err
	}
	w.token = token
	return w.use(ctx)
}

// use calls the sandbox's resource with the token, as an action does.
func (w *walk) use(ctx context.Context) error {
	status, body, err := fetch(ctx, w.browser, w.server.Endpoints().Resource, w.token.AccessToken)
	if err != nil {
		return err
	}
	var me struct{ Subject string }
	if err := json.Unmarshal(body, &me); status != http.StatusOK || err != nil || me.Subject != sandbox.Person {
		return fmt.Errorf("the sandbox's resource answered %d to the token, want 200 for %s", status, sandbox.Person)
	}
	return w.saw("the sandbox's resource took the token: it is %s's", me.Subject)
}

// watchRenewal waits until there is a new token, which has to be before the old
// one ends, and uses it. Its reads ask for no validity, so it is not they that
// renew it.
func (w *walk) watchRenewal(ctx context.Context) error {
	old := w.token
	err := look(ctx, func() (done bool, err error) {
		w.token, err = w.readToken(ctx)
		return w.token.Generation > old.Generation, err
	})
	if err != nil {
		return err
	}
	left := time.Until(old.ExpiresAt)
	switch {
	case left < 0:
		return fmt.Errorf("the new token came %s after the old one's end", -left)
	case w.token.AccessToken == old.AccessToken:
		return fmt.Errorf("generation %d is the same token as %d", w.token.Generation, old.Generation)
	}
	if err := w.saw("the daemon renewed the token by itself, %.1f s before its end: generation %d", left.Seconds(), w.token.Generation); err != nil {
		return err
	}
	return w.use(ctx)
}

// checkRotation asks the sandbox what it saw of the refresh tokens.
func (w *walk) checkRotation(context.Context) error {
	stats, live := w.server.Stats(), w.server.RefreshTokens(sandbox.Person)
	spent := stats.TokenRequests["refresh_token"]
	switch {
	case spent < 2:
		return fmt.Errorf("the sandbox saw %d refreshes, want 2 at least", spent)
	case stats.RefreshTokenReuses > 0:
		return fmt.Errorf("the sandbox saw a spent refresh token %d times", stats.RefreshTokenReuses)
	case len(live) != 1:
		return fmt.Errorf("%d refresh tokens can be used, want 1", len(live))
	}
	return w.saw("each renewal spent a refresh token and stored its successor: %d spent, none used twice", spent)
}

// withdraw takes the consent back at the provider, and waits until the daemon
// says so to operators and, once the token has ended, to runners.
func (w *walk) withdraw(ctx context.Context) error {
	if n := w.server.RevokeAll(); n != 1 {
		return fmt.Errorf("there were %d consents to withdraw, want 1", n)
	}
	if err := w.saw("%s withdrew consent at the sandbox", sandbox.Person); err != nil {
		return err
	}
	err := look(ctx, func() (bool, error) {
		credential, err := w.api.Credential(ctx, w.id)
		return credential.Status == "reauth_required", err
	})
	if err != nil {
		return err
	}
	if err := w.saw("the next renewal was refused: the credential is reauth_required"); err != nil {
		return err
	}
	var refused *client.Error
	err = look(ctx, func() (bool, error) {
		_, err := w.readToken(ctx)
		if e, ok := errors.AsType[*client.Error](err); ok {
			refused = e
			return true, nil
		}
		return false, err
	})
	switch {
	case err != nil:
		return err
	case refused.Code != client.CodeReauthRequired || refused.Connect == nil:
		return fmt.Errorf("reading the token answered %d %s, want 409 reauth_required and how to reconnect", refused.Status, refused.Code)
	}
	return w.saw("the token has ended, and a runner is told %d %s: %s", refused.Status, refused.Code, refused.Connect.Command)
}

// reconnect consents anew, this time with a front end that receives the redirect
// and hands it on.
func (w *walk) reconnect(ctx context.Context) error {
	started, err := w.api.Start(ctx, client.StartRequest{ExistingCredentialID: w.id, RedirectURI: frontEnd})
	if err != nil {
		return err
	}
	target, err := sandbox.Decide(ctx, started.AuthorizationURL, true)
	if err != nil {
		return err
	}
	q := target.Query()
	credential, err := w.api.Callback(ctx, client.CallbackRequest{Code: q.Get("code"), State: q.Get("state"), Issuer: q.Get("iss")})
	switch {
	case err != nil:
		return err
	case credential.ID != w.id, credential.Status != "active", credential.Generation <= w.token.Generation:
		return fmt.Errorf("credential %s is %s at generation %d, want %s, active, above %d",
			credential.ID, credential.Status, credential.Generation, w.id, w.token.Generation)
	}
	if err := w.saw("consent was given anew: the same credential is active again"); err != nil {
		return err
	}
	return w.read(ctx)
}
