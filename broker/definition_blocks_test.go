package broker_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/invectd/invectd/broker"
)

// TestCallbackInputs lets the redirect say whose account it is, and on which of
// the provider's hosts it is at home.
func TestCallbackInputs(t *testing.T) {
	p := &provider{}
	b, store := newBroker(t, p)
	p.answer.Captured = map[string]any{"api": "a"}
	_, err := b.Definitions.Put(t.Context(), broker.Definition{
		ID: "acme", Name: "Acme", AuthorizationURL: "https://acme.example/authorize", TokenURL: "https://{server}/token",
		Inputs: map[string]broker.Input{
			"server": {Callback: "accounts-server", StripPrefix: "https://", Enum: []string{"eu.acme.example", "us.acme.example"}},
			"realm":  {Callback: "realmId", Pattern: "[0-9]+"},
		},
		TokenResponse: broker.TokenResponseShape{Capture: map[string]string{"api": "api"}},
	}, false, true)
	if err != nil {
		t.Fatal(err)
	}
	finish := func(params map[string]string) (broker.Completion, error) {
		started := start(t, b, broker.StartRequest{ProviderID: "acme"})
		return b.CompleteAuthorization(t.Context(), self, broker.Callback{State: started.State, Code: broker.NewSecret("code"), Params: params})
	}
	done, err := finish(map[string]string{"accounts-server": "https://eu.acme.example", "realmId": "91", "unknown": "x"})
	if err != nil {
		t.Fatalf("CompleteAuthorization() = %v", err)
	}
	c, err := store.Get(t.Context(), done.ID)
	if err != nil {
		t.Fatal(err)
	}
	inputs, captured := c.Config.Texts(broker.KeyInputs), c.Config.Texts(broker.KeyCaptured)
	if want := map[string]string{"server": "eu.acme.example", "realm": "91"}; !reflect.DeepEqual(inputs, want) {
		t.Errorf("inputs = %v, want %v", inputs, want)
	}
	if want := map[string]string{"server": "eu.acme.example", "realm": "91", "api": "a"}; !reflect.DeepEqual(captured, want) {
		t.Errorf("captured = %v, want %v", captured, want)
	}
	asked := p.exchanges.Load()
	for name, params := range map[string]map[string]string{
		"no server":      {"realmId": "91"},
		"a host of evil": {"accounts-server": "https://evil.example", "realmId": "91"},
		"no realm":       {"accounts-server": "https://us.acme.example", "realmId": "../91"},
	} {
		_, err := finish(params)
		if _, ok := errors.AsType[*broker.InvalidError](err); !ok || p.exchanges.Load() != asked {
			t.Errorf("CompleteAuthorization(%s) = %v after %d exchanges, want an InvalidError and none", name, err, p.exchanges.Load()-asked)
		}
	}
	if _, err := finish(map[string]string{"accounts-server": "us.acme.example"}); err != nil {
		t.Errorf("CompleteAuthorization(without the realm, which no URL needs) = %v", err)
	}
}

// TestOriginsOfBlocks makes sure that a change of any host that gets a token or a
// secret is one that the operator has to accept.
func TestOriginsOfBlocks(t *testing.T) {
	k := broker.Connection{
		Definition: broker.Definition{
			ID: "acme", AuthorizationURL: "https://page.example/a", TokenURL: "https://{server}/token",
			LongLivedRequest: broker.TokenRequest{URL: "https://long.example/t"},
			Lookup:           &broker.Lookup{URL: "https://lookup.example/me"},
		},
		Inputs: map[string]string{"server": "eu.acme.example"},
	}
	if got, want := k.Origins(), "https://eu.acme.example https://long.example https://lookup.example https://page.example"; got != want {
		t.Errorf("Origins() = %q, want %q", got, want)
	}
}
