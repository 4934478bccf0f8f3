package broker_test

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/invectd/invectd/broker"
)

// moved returns acme's definition with a change.
func moved(change func(*broker.Definition)) broker.Definition {
	d := broker.Definition{
		ID: "acme", Name: "Acme", AuthorizationURL: "https://acme.example/authorize", TokenURL: "https://token.acme.example/token",
		Inputs: map[string]broker.Input{"region": {Default: "eu", Pattern: "[a-z]+"}, "host": {Default: "token.acme.example", Pattern: "[a-z.]+"}},
	}
	if change != nil {
		change(&d)
	}
	return d
}

// TestHostChanges: a definition may change all that it likes but the host that a
// refresh token goes to.
func TestHostChanges(t *testing.T) {
	for _, test := range []struct {
		name   string
		before func(*broker.Definition)
		after  func(*broker.Definition)
		inputs map[string]any
		held   string // the origin that is not trusted, "" if it follows
	}{
		{"nothing", nil, nil, nil, ""},
		{"another path", nil, func(d *broker.Definition) { d.TokenURL = "https://token.acme.example/v2/token" }, nil, ""},
		{"the default port", nil, func(d *broker.Definition) { d.TokenURL = "https://Token.acme.example:443/token" }, nil, ""},
		{"another host", nil, func(d *broker.Definition) { d.TokenURL = "https://evil.example/token" }, nil, "https://evil.example"},
		{"another port", nil, func(d *broker.Definition) { d.TokenURL = "https://token.acme.example:8443/token" }, nil, "https://token.acme.example:8443"},
		{"another scheme", nil, func(d *broker.Definition) { d.TokenURL = "http://token.acme.example/token" }, nil, "http://token.acme.example"},
		{"a host for refreshes", nil, func(d *broker.Definition) { d.RefreshRequest.URL = "https://evil.example/refresh" }, nil, "https://evil.example"},
		{"an issuer instead", nil, func(d *broker.Definition) { d.TokenURL, d.Issuer = "", "https://evil.example" }, nil, "https://evil.example"},
		{"a revocation elsewhere", nil, func(d *broker.Definition) { d.RevocationURL = "https://evil.example/revoke" }, nil, ""},
		{"an input that makes the same host", nil, func(d *broker.Definition) { d.TokenURL = "https://{host}/token" }, nil, ""},
		{"an input whose default moves", func(d *broker.Definition) { d.TokenURL = "https://{region}.acme.example/token" },
			func(d *broker.Definition) {
				d.TokenURL = "https://{region}.acme.example/token"
				d.Inputs = map[string]broker.Input{"region": {Default: "us", Pattern: "[a-z]+"}}
			}, nil, "https://us.acme.example"},
		{"an input that the credential gives", func(d *broker.Definition) { d.TokenURL = "https://{region}.acme.example/token" },
			func(d *broker.Definition) {
				d.TokenURL = "https://{region}.acme.example/token"
				d.Inputs = map[string]broker.Input{"region": {Default: "us", Pattern: "[a-z]+"}}
			}, map[string]any{"region": "jp"}, ""},
		{"the fixed part beside an input", func(d *broker.Definition) { d.TokenURL = "https://{region}.acme.example/token" },
			func(d *broker.Definition) { d.TokenURL = "https://{region}.evil.example/token" }, map[string]any{"region": "jp"}, "https://jp.evil.example"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, store := newBroker(t, &provider{})
			known := b.Definitions.(definitions)
			known["acme"] = moved(test.before)
			config := map[string]any{"clientId": "app", "clientSecret": "cs", "refreshToken": "rt"}
			if test.inputs != nil {
				config["inputs"] = test.inputs
			}
			c, err := b.CreateCredential(t.Context(), self, broker.NewCredential{Name: "mine", Provider: "acme", AuthType: broker.AuthOAuth2, Config: config})
			if err != nil {
				t.Fatal(err)
			}
			known["acme"] = moved(test.after)
			b.ProviderChanged(t.Context(), broker.ProviderChange{ID: "acme", Status: broker.ProviderChanged})
			stored, err := store.Get(t.Context(), c.ID)
			if err != nil {
				t.Fatal(err)
			}
			connections := broker.Connections{Definitions: known, Apps: store}
			_, err = connections.For(t.Context(), &stored)
			if invalid, _ := errors.AsType[*broker.InvalidError](err); (err != nil) != (test.held != "") || err != nil && invalid == nil || err != nil && !strings.Contains(err.Error(), test.held+",") {
				t.Errorf("For = %v, want it held from %q", err, test.held)
			}
			census, err := b.Census(t.Context(), self)
			if err != nil || (len(census.Problems) == 1) != (test.held != "") {
				t.Errorf("Census has the problems %v, %v, want one: %v", census.Problems, err, test.held != "")
			}
			shown, err := b.Provider(t.Context(), self, "acme")
			if err != nil || (shown.Held != nil) != (test.held != "") {
				t.Errorf("Provider = held %v, %v, want it held: %v", shown.Held, err, test.held != "")
			}
			if _, err := b.AcceptProvider(t.Context(), self, "acme", nil); err != nil {
				t.Fatalf("AcceptProvider: %v", err)
			}
			if stored, err = store.Get(t.Context(), c.ID); err != nil {
				t.Fatal(err)
			}
			if _, err := connections.For(t.Context(), &stored); err != nil {
				t.Errorf("For after it was accepted = %v, want none", err)
			}
			if census, err := b.Census(t.Context(), self); err != nil || len(census.Problems) > 0 {
				t.Errorf("Census has the problems %v, %v after it was accepted, want none", census.Problems, err)
			}
		})
	}
}

// TestOneEndpointElsewhere: what is asked beside the token endpoint is trusted by
// itself.
func TestOneEndpointElsewhere(t *testing.T) {
	b, store := newBroker(t, &provider{})
	known := b.Definitions.(definitions)
	known["acme"] = moved(nil)
	c, err := b.CreateCredential(t.Context(), self, broker.NewCredential{Provider: "acme", AuthType: broker.AuthOAuth2,
		Config: map[string]any{"clientId": "app", "accessToken": "at"}})
	if err != nil {
		t.Fatal(err)
	}
	known["acme"] = moved(func(d *broker.Definition) {
		d.RevocationURL, d.Identity, d.APIHosts = "https://evil.example/r", &broker.IdentityRequest{URL: "https://evil.example/me"}, []string{"evil.example"}
	})
	stored, err := store.Get(t.Context(), c.ID)
	if err != nil {
		t.Fatal(err)
	}
	k, err := broker.Connections{Definitions: known, Apps: store}.For(t.Context(), &stored)
	if err != nil || !k.Trusts("https://token.acme.example/x") || k.Trusts("https://evil.example/r") {
		t.Errorf("For = trusting %q, %v, want the token host alone", k.Trusted, err)
	}
	_, err = b.SendRequest(t.Context(), self, string(c.ID), broker.APIRequest{Method: http.MethodGet, URL: "https://evil.example/"})
	if _, ok := errors.AsType[*broker.InvalidError](err); !ok || !strings.Contains(err.Error(), "was not authorised with") {
		t.Errorf("SendRequest to a new API host = %v, want it refused", err)
	}
}

// TestAppSecretStays: the secret of a registered app, too, waits for the operator's
// word, and so does one that a reconnect would take from the credential.
func TestAppSecretStays(t *testing.T) {
	p := &provider{}
	b, store := newBroker(t, p)
	known := b.Definitions.(definitions)
	known["acme"] = moved(nil)
	app := broker.App{ProviderID: "acme", Client: broker.Client{ID: "app", Secret: broker.NewSecret("s")}}
	if _, err := b.PutApp(t.Context(), self, app); err != nil {
		t.Fatal(err)
	}
	own, err := b.CreateCredential(t.Context(), self, broker.NewCredential{Provider: "acme", AuthType: broker.AuthOAuth2,
		Config: map[string]any{"clientId": "own", "clientSecret": "cs", "refreshToken": "rt"}})
	if err != nil {
		t.Fatal(err)
	}
	known["acme"] = moved(func(d *broker.Definition) { d.TokenURL = "https://evil.example/token" })
	b.ProviderChanged(t.Context(), broker.ProviderChange{ID: "acme", Status: broker.ProviderChanged})

	refused := func(what string, r broker.StartRequest) {
		t.Helper()
		_, err := b.StartAuthorization(t.Context(), self, r)
		if _, ok := errors.AsType[*broker.InvalidError](err); !ok || !strings.Contains(err.Error(), "https://evil.example") {
			t.Errorf("StartAuthorization with %s = %v, want it refused", what, err)
		}
	}
	refused("the app's client", broker.StartRequest{ProviderID: "acme"})
	refused("the credential's client", broker.StartRequest{ExistingCredentialID: string(own.ID)})
	app.Client.Secret = broker.NewSecret(broker.Mask)
	if _, err := b.PutApp(t.Context(), self, app); err != nil {
		t.Fatal(err)
	}
	refused("the app's kept secret", broker.StartRequest{ProviderID: "acme"})

	// Who brings a secret along says where it goes, and a reconnected credential
	// follows the definition that it was reconnected with.
	started := start(t, b, broker.StartRequest{ExistingCredentialID: string(own.ID), ClientID: "own", ClientSecret: broker.NewSecret("new")})
	if _, err := b.CompleteRedirect(t.Context(), broker.Callback{State: started.State, Code: broker.NewSecret("c"), Host: "localhost"}); err != nil {
		t.Fatalf("CompleteRedirect: %v", err)
	}
	stored, err := store.Get(t.Context(), own.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (broker.Connections{Definitions: known, Apps: store}).For(t.Context(), &stored); err != nil {
		t.Errorf("For after a reconnect = %v, want none", err)
	}

	// What was looked at is what is accepted.
	if _, err := b.AcceptProvider(t.Context(), self, "acme", []string{"https://good.example"}); !errors.Is(err, broker.ErrConflict) {
		t.Errorf("AcceptProvider of other origins = %v, want ErrConflict", err)
	}
	refused("the app's client, still", broker.StartRequest{ProviderID: "acme"})
	accepted, err := b.AcceptProvider(t.Context(), self, "acme", []string{"https://evil.example", "https://acme.example"})
	if err != nil || !accepted.App {
		t.Fatalf("AcceptProvider = %+v, %v, want the app to follow", accepted, err)
	}
	if _, err := b.StartAuthorization(t.Context(), self, broker.StartRequest{ProviderID: "acme"}); err != nil {
		t.Errorf("StartAuthorization once it was accepted = %v", err)
	}
}

// TestAdopt: what was stored before origins were takes those in force, once.
func TestAdopt(t *testing.T) {
	b, store := newBroker(t, &provider{})
	known := b.Definitions.(definitions)
	known["acme"] = moved(nil)
	for n := range 200 {
		c, err := store.Create(t.Context(), broker.Credential{
			Summary: broker.Summary{ID: broker.ID(fmt.Sprint("old", n)), AuthType: broker.AuthOAuth2, Provider: "acme", IsActive: true},
			Config:  broker.NewConfig(map[string]any{"clientId": "app", "refreshToken": "rt"}),
		})
		if err != nil {
			t.Fatal(err)
		}
		b.Tokens.Add(c)
	}
	if err := store.PutApp(t.Context(), broker.App{ProviderID: "acme", Client: broker.Client{ID: "app", Secret: broker.NewSecret("s")}}); err != nil {
		t.Fatal(err)
	}
	const want = "https://acme.example https://token.acme.example"
	for range 2 { // the second time it is another definition
		if err := b.Adopt(t.Context()); err != nil {
			t.Fatalf("Adopt: %v", err)
		}
		for _, s := range b.Tokens.All() {
			if c, err := store.Get(t.Context(), s.ID); err != nil || c.Origins != want || s.Origins != want {
				t.Fatalf("%s has the origins %q and in memory %q, %v, want %q", s.ID, c.Origins, s.Origins, err, want)
			}
		}
		if app, err := store.App(t.Context(), "acme"); err != nil || app.Origins != want {
			t.Fatalf("the app has the origins %q, %v, want %q", app.Origins, err, want)
		}
		known["acme"] = moved(func(d *broker.Definition) { d.TokenURL = "https://evil.example" })
	}
}

// TestEveryEndpointCounts: whatever field of a definition holds a URL is among the
// origins, so that a new one cannot be forgotten.
func TestEveryEndpointCounts(t *testing.T) {
	notAsked := map[string]bool{"docsUrl": true, "tokenRequest.url": true} // a link for people; refused by Check
	d := broker.Definition{ID: "acme", Name: "Acme", Identity: new(broker.IdentityRequest)}
	var want []string
	var fill func(v reflect.Value, path string)
	fill = func(v reflect.Value, path string) {
		if v.Kind() == reflect.Pointer && !v.IsNil() {
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct {
			return
		}
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			field, at := v.Field(i), strings.TrimPrefix(path+"."+name, ".")
			isURL := name == "url" || name == "issuer" || strings.HasSuffix(name, "Url")
			if field.Kind() == reflect.String && isURL && !notAsked[at] {
				origin := fmt.Sprintf("https://h%d.example", len(want))
				field.SetString(origin + "/x")
				want = append(want, origin)
				continue
			}
			fill(field, at)
		}
	}
	fill(reflect.ValueOf(&d), "")
	got := strings.Fields(broker.Connection{Definition: d}.Origins())
	if len(want) < 8 || len(got) != len(want) {
		t.Errorf("Origins() = %v, want the %d of %v", got, len(want), want)
	}
}
