package broker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
)

// revoker is a provider that remembers what it was to revoke, and fails from the
// call number failsAt on.
type revoker struct {
	broker.AuthorizationServer
	revoked []string
	failsAt int
}

func (r *revoker) Revoke(_ context.Context, _ broker.Connection, token broker.Secret, hint string) error {
	r.revoked = append(r.revoked, hint+" "+token.Reveal())
	if r.failsAt > 0 && len(r.revoked) >= r.failsAt {
		return &broker.ProviderError{Op: "revoke", Provider: "acme", Status: 503, Sent: broker.SentAnswered}
	}
	return nil
}

// renewer is a refresher that answers each refresh with the same.
type renewer struct {
	idle
	err   error
	asked int
}

func (r *renewer) Refresh(context.Context, broker.ID, broker.Need) (broker.Token, error) {
	r.asked++
	return broker.Token{Access: broker.NewSecret("renewed")}, r.err
}

func TestRevokedTokens(t *testing.T) {
	reauth := &broker.ReauthorizeError{Name: "mine", Provider: "acme", Reason: "invalid_grant"}
	away := &broker.ProviderError{Op: "refresh", Provider: "acme", Status: 503, Sent: broker.SentAnswered}
	both := map[string]any{"accessToken": "at", "refreshToken": "rt"}
	const age = time.Hour // of a token when it is revoked
	for _, test := range []struct {
		name    string
		which   string
		config  map[string]any
		life    time.Duration // of the access token; 0 for ever
		refresh error         // of a renewal
		renews  bool
		failsAt int
		want    []string
		fails   string // "invalid" or "provider"
	}{
		{"refresh token first of all", "", both, 0, nil, false, 0, []string{"refresh_token rt"}, ""},
		{"else the access token", "", map[string]any{"accessToken": "at"}, 0, nil, false, 0, []string{"access_token at"}, ""},
		{"no tokens", "", map[string]any{}, 0, nil, false, 0, nil, ""},
		{"the refresh token alone", "refresh_token", both, 0, nil, false, 0, []string{"refresh_token rt"}, ""},
		{"no refresh token", "refresh_token", map[string]any{"accessToken": "at"}, 0, nil, false, 0, nil, "invalid"},
		{"both, the one that brings more first", "both", both, 0, nil, false, 0, []string{"refresh_token rt", "access_token at"}, ""},
		{"both, of which there is one", "both", map[string]any{"accessToken": "at"}, 0, nil, false, 0, []string{"access_token at"}, ""},
		{"both, the second fails", "both", both, 0, nil, false, 2, []string{"refresh_token rt", "access_token at"}, ""},
		{"the access token", "access_token", both, 0, nil, false, 0, []string{"access_token at"}, ""},
		{"a living access token", "access_token", both, 3 * age, nil, false, 0, []string{"access_token at"}, ""},
		{"an ended access token is renewed", "access_token", both, age / 2, nil, true, 0, []string{"access_token renewed"}, ""},
		{"none yet", "access_token", map[string]any{"refreshToken": "rt"}, 0, nil, true, 0, []string{"access_token renewed"}, ""},
		{"an ended one that nothing renews", "access_token", map[string]any{"accessToken": "at"}, age / 2, nil, false, 0, []string{"access_token at"}, ""},
		{"the grant is dead", "access_token", both, age / 2, reauth, true, 0, nil, "invalid"},
		{"switched off", "access_token", both, age / 2, fmt.Errorf("mine: %w", broker.ErrDisabled), true, 0, nil, "invalid"},
		{"the provider is away", "access_token", both, age / 2, away, true, 0, nil, "provider"},
		{"away, but it still lives", "access_token", both, age + 5*time.Second, away, true, 0, []string{"access_token at"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				provider, refresher := &revoker{failsAt: test.failsAt}, &renewer{err: test.refresh}
				b := broker.New(broker.Parts{
					Store: new(brokertest.MemStore), Server: provider, Refresher: refresher, Auditor: brokertest.Unaudited{},
					Tokens: broker.NewTokens(), Events: broker.NewEvents(), Policy: broker.NewPolicy(self.UID),
					Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
					Definitions: definitions{"acme": *definition(func(d *broker.Definition) {
						d.ID, d.Inputs = "acme", nil
						d.RevocationURL, d.RevocationRequest.Token = "https://acme.example/revoke", test.which
					})},
				})
				config := map[string]any{"clientId": "app"}
				for key, value := range test.config {
					config[key] = value
				}
				if test.life != 0 {
					config["expiresAt"] = time.Now().Add(test.life).Format(time.RFC3339)
				}
				c, err := b.CreateCredential(t.Context(), self, broker.NewCredential{Name: "mine", Provider: "acme", AuthType: broker.AuthOAuth2, Config: config})
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(age)
				err = b.DeleteCredential(t.Context(), self, string(c.ID), true)
				if !slices.Equal(provider.revoked, test.want) || refresher.asked > 0 != test.renews {
					t.Errorf("revoked %q after %d refreshes, want %q", provider.revoked, refresher.asked, test.want)
				}
				_, isInvalid := errors.AsType[*broker.InvalidError](err)
				_, isProvider := errors.AsType[*broker.ProviderError](err)
				if (err != nil) != (test.fails != "") || isInvalid != (test.fails == "invalid") || isProvider != (test.fails == "provider") {
					t.Errorf("DeleteCredential = %v, want an error of the kind %q", err, test.fails)
				}
				if _, err := b.Credential(t.Context(), self, string(c.ID)); errors.Is(err, broker.ErrNotFound) != (test.fails == "") {
					t.Errorf("Credential = %v afterwards, want it gone: %v", err, test.fails == "")
				}
			})
		})
	}
}
