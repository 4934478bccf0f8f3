package plugins_test

import (
	"bytes"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/plugins"
)

// acme is a built-in definition that others extend.
func acme() broker.Definition {
	return broker.Definition{
		ID: "acme", Name: "Acme", Category: "crm_sales", Experimental: true,
		AuthorizationURL: "https://acme.example/authorize", TokenURL: "https://acme.example/token",
		DefaultScopes: []string{"read"}, AdditionalAuthParams: map[string]string{"prompt": "consent", "audience": "a"},
		TokenRequest: broker.TokenRequest{Format: "json", Params: map[string]*string{"redirect_uri": nil}},
		Refresh:      broker.RefreshPolicy{Rotation: "always", IdleLifetime: broker.Duration(3600e9)},
	}
}

// registry returns a registry with acme built in.
func registry(t *testing.T, store *memory, dir string) *plugins.Registry {
	t.Helper()
	r, err := plugins.New(plugins.Config{Builtin: []broker.Definition{acme()}, Store: store, Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		err = r.Load(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestExtendsFile(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "sandbox.yaml", `
id: acme-sandbox
name: Acme (sandbox)
extends: acme
tokenUrl: https://sandbox.acme.example/token
additionalAuthParams: {audience: b}
tokenRequest: {params: {grant_type: null, x: y}}
refresh: {rotation: never}
defaultScopes: []
`)
	r := registry(t, newMemory(), dir)
	rescan(t, r)
	got, err := r.Definition("acme-sandbox")
	if err != nil {
		t.Fatal(err)
	}
	want := acme()
	want.ID, want.Name, want.Extends, want.Experimental = "acme-sandbox", "Acme (sandbox)", "acme", false
	want.TokenURL = "https://sandbox.acme.example/token"
	want.AdditionalAuthParams = map[string]string{"prompt": "consent", "audience": "b"}
	want.TokenRequest.Params = map[string]*string{"redirect_uri": nil, "grant_type": nil, "x": new("y")}
	want.Refresh.Rotation = "never"
	want.DefaultScopes = []string{}
	want.SupportsRefresh = new(true)
	if !reflect.DeepEqual(got.Definition, want) {
		t.Errorf("Definition(acme-sandbox) = %+v, want %+v", got.Definition, want)
	}
	expect(t, r, "acme", "Acme", broker.SourceBuiltin)
	if d, _ := r.Definition("acme"); d.TokenURL != "https://acme.example/token" || len(d.AdditionalAuthParams) != 2 {
		t.Errorf("Definition(acme) = %+v after it was extended, want what it was", d)
	}
}

func TestExtendsErrors(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "1.yaml", "id: one\nname: One\nextends: nobody\n")
	write(t, dir, "2.yaml", "id: two\nextends: acme\n")
	write(t, dir, "3.yaml", "id: three\nname: Three\nextends: four\n")
	write(t, dir, "4.yaml", "id: four\nname: Four\nissuer: https://four.example\n")
	write(t, dir, "5.yaml", "id: five\nname: Five\nextends: acme\npkce: 5\n")
	r := registry(t, newMemory(), dir)
	rescan(t, r)
	problems := strings.Join(problemsOf(r), "\n")
	for _, want := range []string{
		`1.yaml:3: extends: there is no built-in provider "nobody"`,
		`2.yaml:1: name: give the name`,
		`3.yaml:3: extends: there is no built-in provider "four"`, // which a file may have, and change
		`5.yaml:4: pkce: "5" is unknown`,
	} {
		if !strings.Contains(problems, want) {
			t.Errorf("Problems() = %s, want it to say %s", problems, want)
		}
	}
}

// TestExtendsStored keeps what was written, and not what it was made to, so that
// a later catalogue counts.
func TestExtendsStored(t *testing.T) {
	store := newMemory()
	r := registry(t, store, "")
	d := broker.Definition{ID: "mine", Name: "Mine", Extends: "acme", TokenURL: "https://mine.example/token"}
	put, err := r.Put(t.Context(), d, true, false)
	if err != nil || put.AuthorizationURL != "https://acme.example/authorize" || put.TokenURL != d.TokenURL || put.Extends != "acme" {
		t.Fatalf("Put(mine) = %+v, %v, want acme with another token endpoint", put, err)
	}
	if kept, _ := store.get("mine"); !reflect.DeepEqual(kept, d) {
		t.Errorf("the store has %+v, want %+v", kept, d)
	}
	_, err = r.Put(t.Context(), broker.Definition{ID: "x", Name: "X", Extends: "mine"}, true, false)
	if _, ok := errors.AsType[*broker.InvalidError](err); !ok {
		t.Errorf("Put(extends mine) = %v, want an InvalidError", err)
	}
	if _, err := r.Put(t.Context(), broker.Definition{ID: "acme", Name: "Own Acme", Extends: "acme", RequiredScopes: []string{"more"}}, false, true); err != nil {
		t.Errorf("Put(acme that extends acme) = %v", err)
	}

	again := registry(t, store, "")
	expect(t, again, "mine", "Mine", broker.SourceAPI)
	expect(t, again, "acme", "Own Acme", broker.SourceAPI)
	if d, _ := again.Definition("acme"); d.TokenURL != "https://acme.example/token" || len(d.RequiredScopes) != 1 {
		t.Errorf("Definition(acme) = %+v, want the built-in one with one scope more", d)
	}

	// A release whose catalogue has no acme any more.
	var log bytes.Buffer
	without, err := plugins.New(plugins.Config{Store: store, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := without.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := without.Definition("mine"); !errors.Is(err, broker.ErrUnknownProvider) || !strings.Contains(log.String(), "provider=mine") {
		t.Errorf("Definition(mine) = %v, log %q, want it left out with a warning", err, log.String())
	}
}

func TestQuirks(t *testing.T) {
	if got := plugins.Quirks(broker.Definition{ID: "a", Name: "A", TokenURL: "https://a.example", PKCE: broker.PKCEOptional}); len(got) != 0 {
		t.Errorf("Quirks(of a standard one) = %v, want none", got)
	}
	d := acme()
	d.Inputs = map[string]broker.Input{"region": {}, "realm": {Callback: "realmId"}}
	d.TokenURL = "https://{region}.acme.example/token"
	d.PKCE, d.ClientAuthentication = broker.PKCENone, broker.ClientSecretBasic
	d.TokenResponse.DefaultExpiresIn = 7200
	d.Lookup = &broker.Lookup{Capture: map[string]string{"site": "id"}}
	var got []string
	for _, quirk := range plugins.Quirks(d) {
		got = append(got, quirk.String())
	}
	want := []string{
		"asks for inputs: region", "an input chooses the host: region", "the redirect brings values: realmId",
		"more authorization parameters: audience=a, prompt=consent", "no PKCE", "the client's secret goes into HTTP Basic",
		"token requests are JSON", "more or fewer token parameters: no redirect_uri", "a lifetime for answers that do not say it: 2h",
		"each refresh brings a new refresh token", "a refresh token dies unused: after 1h", "something is looked up after connecting: site",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Quirks() = %q, want %q", got, want)
	}
}
