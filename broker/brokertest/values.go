package brokertest

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
)

func fullDefinition(id string) broker.Definition {
	return broker.Definition{
		ID: id, Name: "Name", AuthorizationURL: "https://p.example/a?x={tenant}", TokenURL: "https://p.example/t",
		DefaultScopes: []string{}, RequiredScopes: []string{"r"}, SupportsRefresh: new(false), PKCE: broker.PKCENone,
		AdditionalAuthParams: map[string]string{"access_type": "offline"},
		TokenRequest:         broker.TokenRequest{Params: map[string]*string{"gone": nil, "set": new("v")}},
		TokenResponse: broker.TokenResponseShape{
			AccessToken: broker.Paths{"a.b"}, Scope: broker.Paths{"x", "y"}, Success: &broker.SuccessCheck{Path: "ok", Equals: true},
		},
		Refresh: broker.RefreshPolicy{ReuseGrace: broker.Unlimited, Lead: broker.Duration(5 * time.Minute)},
		Inputs:  map[string]broker.Input{"tenant": {Default: "common"}},
	}
}

func fullClient() broker.Client {
	return broker.Client{
		ID: "client", Secret: broker.NewSecret("client-secret"), PrivateKey: broker.NewSecret("private-key"),
		PrivateKeyID: "kid", Certificate: "certificate",
	}
}

func fullApp(provider string) broker.App {
	return broker.App{ProviderID: provider, Client: fullClient(), Inputs: map[string]string{"tenant": "t"}}
}

func fullAuthorization(state string) broker.Authorization {
	return broker.Authorization{
		State: state, Definition: fullDefinition("d"), Client: fullClient(), RedirectURI: "http://127.0.0.1:8765/cb",
		Scopes: []string{"a", "b"}, Inputs: map[string]string{"tenant": "t"}, Verifier: broker.NewSecret("verifier-" + state),
		ReturnURL: "https://front.example/", CredentialName: "Work", CredentialID: "id",
		StartedBy: broker.Caller{UID: 1000, GID: 1001, PID: 12, Attested: true},
		ExpiresAt: time.Date(2026, 5, 6, 7, 8, 9, 10, time.UTC),
	}
}

func create(t *testing.T, s broker.Store, id broker.ID) {
	t.Helper()
	if _, err := s.Create(t.Context(), FullCredential(id)); err != nil {
		t.Fatalf("Create(%q): %v", id, err)
	}
}

func get(t *testing.T, s broker.Store, id broker.ID) broker.Credential {
	t.Helper()
	c, err := s.Get(t.Context(), id)
	if err != nil {
		t.Fatalf("Get(%q): %v", id, err)
	}
	return c
}

// sameCredential compares all fields; a Config by what it reveals.
func sameCredential(t *testing.T, what string, got, want broker.Credential) {
	t.Helper()
	gotConfig, wantConfig := got.Config.Reveal(), want.Config.Reveal()
	got.Config, want.Config = broker.Config{}, broker.Config{}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s = %+v, want %+v", what, got, want)
	}
	if !reflect.DeepEqual(gotConfig, wantConfig) {
		t.Errorf("%s has config %v, want %v", what, gotConfig, wantConfig)
	}
}

// bareClient is a client whose secrets can be compared.
type bareClient struct {
	broker.Client
	Secret, PrivateKey string
}

func bare(c broker.Client) bareClient {
	b := bareClient{c, c.Secret.Reveal(), c.PrivateKey.Reveal()}
	b.Client.Secret, b.Client.PrivateKey = broker.Secret{}, broker.Secret{}
	return b
}

func sameAuthorization(t *testing.T, got, want broker.Authorization) {
	t.Helper()
	if g, w := got.Verifier.Reveal(), want.Verifier.Reveal(); g != w {
		t.Errorf("verifier = %q, want %q", g, w)
	}
	if g, w := bare(got.Client), bare(want.Client); !reflect.DeepEqual(g, w) {
		t.Errorf("client = %+v, want %+v", g, w)
	}
	for _, a := range []*broker.Authorization{&got, &want} {
		a.Client, a.Verifier = broker.Client{}, broker.Secret{}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("authorization = %+v, want %+v", got, want)
	}
}

func sameApps(t *testing.T, got []broker.App, want ...broker.App) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d apps, want %d", len(got), len(want))
	}
	for i := range got {
		if g, w := bare(got[i].Client), bare(want[i].Client); !reflect.DeepEqual(g, w) {
			t.Errorf("client = %+v, want %+v", g, w)
		}
		got[i].Client, want[i].Client = broker.Client{}, broker.Client{}
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("app = %+v, want %+v", got[i], want[i])
		}
	}
}

func testEndedContext(t *testing.T, s broker.Store, _ func() broker.Store) {
	create(t, s, "one")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Get(ctx, "one"); !errors.Is(err, context.Canceled) {
		t.Errorf("Get with an ended context = %v, want context.Canceled", err)
	}
	if _, err := s.Create(ctx, FullCredential("two")); !errors.Is(err, context.Canceled) {
		t.Errorf("Create with an ended context = %v, want context.Canceled", err)
	}
	if err := s.Delete(ctx, "one"); !errors.Is(err, context.Canceled) {
		t.Errorf("Delete with an ended context = %v, want context.Canceled", err)
	}
	sameSummaries(t, s, FullCredential("one").Summary)
}
