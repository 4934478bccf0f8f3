package broker_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/invectd/invectd/broker"
)

// definition returns one that is valid, changed by change.
func definition(change func(*broker.Definition)) *broker.Definition {
	d := &broker.Definition{
		ID: "my_service", Name: "My Service",
		AuthorizationURL: "https://myservice.com/oauth/authorize",
		TokenURL:         "https://myservice.com/oauth/token",
		Inputs: map[string]broker.Input{
			"tenant": {Default: "common", Pattern: "^[a-z0-9.-]+$"},
			"free":   {},
			"any":    {Pattern: ".*"},
		},
		TokenResponse: broker.TokenResponseShape{Capture: map[string]string{"instance": "instance_host"}},
	}
	if change != nil {
		change(d)
	}
	return d
}

// paths returns the fields that an error of Check names.
func paths(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	var invalid *broker.InvalidError
	if !errors.As(err, &invalid) {
		t.Fatalf("Check() = %T %v, want an *InvalidError", err, err)
	}
	var out []string
	for _, f := range invalid.Fields {
		out = append(out, f.Path)
	}
	return slices.Compact(out)
}

func TestCheckTokenURL(t *testing.T) {
	loopback := broker.Addresses{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	tests := []struct {
		url     string
		allowed broker.Addresses
		bad     string // the field to mend, "" if none
	}{
		{url: "https://myservice.com/token"},
		{url: "HTTPS://MyService.com/token"},
		{url: "https://myservice.com:8443/token?a=b&c={tenant}"},
		{url: "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"},
		{url: "https://myservice.com/{free}/token"},
		{url: "https://myservice.com/{instance}/{client_id}"},
		{url: "https://{tenant}.myservice.com/token"},
		{url: "https://{tenant}/token"},
		{url: "https://[2606:4700::1111]/token"},
		{url: "https://1.1.1.1/token"},
		{url: "https://xn--bcher-kva.example/token"},
		{url: "http://127.0.0.1:8080/token", allowed: loopback},
		{url: "http://localhost:8080/token", allowed: loopback},
		{url: "http://[::1]:8080/token", allowed: loopback},
		{url: "http://[::ffff:127.0.0.1]:8080/token", allowed: loopback},
		{url: "https://127.0.0.1/token", allowed: loopback},

		// Neither absolute nor https.
		{url: "myservice.com/token", bad: "tokenUrl"},
		{url: "//myservice.com/token", bad: "tokenUrl"},
		{url: "://myservice.com/token", bad: "tokenUrl"},
		{url: "https:/myservice.com", bad: "tokenUrl"},
		{url: "https:myservice.com", bad: "tokenUrl"},
		{url: "https:///token", bad: "tokenUrl"},
		{url: "https://:443/token", bad: "tokenUrl"},
		{url: "http://myservice.com/token", bad: "tokenUrl"},
		{url: "http://myservice.com/token", allowed: loopback, bad: "tokenUrl"},
		{url: "http://10.0.0.1/token", allowed: loopback, bad: "tokenUrl"},
		{url: "http://127.0.0.1/token", bad: "tokenUrl"},
		{url: "http://127.0.0.1.evil.example/token", allowed: loopback, bad: "tokenUrl"},
		{url: "ftp://myservice.com/token", bad: "tokenUrl"},
		{url: "unix:///run/invectd.sock", bad: "tokenUrl"},
		{url: "javascript://myservice.com/%0aalert(1)", bad: "tokenUrl"},
		{url: "{tenant}://myservice.com/token", bad: "tokenUrl"},
		{url: "https{tenant}myservice.com/token", bad: "tokenUrl"},
		{url: "https:/{tenant}/myservice.com/token", bad: "tokenUrl"},
		{url: "http{tenant}", bad: "tokenUrl"},

		// The host is not what it seems.
		{url: "https://myservice.com@evil.example/", bad: "tokenUrl"},
		{url: "https://{tenant}@evil.example/", bad: "tokenUrl"},
		{url: "https://a:{tenant}@evil.example/", bad: "tokenUrl"},
		{url: "https://@evil.example/", bad: "tokenUrl"},
		{url: `https://evil.example\@myservice.com/`, bad: "tokenUrl"},
		{url: `https://myservice.com\.evil.example/`, bad: "tokenUrl"},
		{url: `https:\\myservice.com\`, bad: "tokenUrl"},
		{url: "https://myservice.com／evil.example/", bad: "tokenUrl"},
		{url: "https://bücher.example/", bad: "tokenUrl"},
		{url: "https://myservice%2ecom/", bad: "tokenUrl"},
		{url: "https://b%C3%BCcher.example/", bad: "tokenUrl"},
		{url: "https://my_service/", bad: "tokenUrl"},
		{url: "https://my..service/", bad: "tokenUrl"},
		{url: "https://.myservice.com/", bad: "tokenUrl"},
		{url: "https://*.myservice.com/", bad: "tokenUrl"},
		{url: "https://" + strings.Repeat("a.", 200) + "example/", bad: "tokenUrl"},

		// Ports.
		{url: "https://myservice.com:{tenant}/", bad: "tokenUrl"},
		{url: "https://myservice.com:99999/", bad: "tokenUrl"},
		{url: "https://myservice.com:0/", bad: "tokenUrl"},
		{url: "https://myservice.com:-1/", bad: "tokenUrl"},

		// Addresses that are not public, in all their spellings.
		{url: "https://127.0.0.1/", bad: "tokenUrl"},
		{url: "https://127.0.0.1./", bad: "tokenUrl"},
		{url: "https://127.1/", bad: "tokenUrl"},
		{url: "https://0177.0.0.1/", bad: "tokenUrl"},
		{url: "https://2130706433/", bad: "tokenUrl"},
		{url: "https://0x7f000001/", bad: "tokenUrl"},
		{url: "https://0x7f.0.0.0x1/", bad: "tokenUrl"},
		{url: "https://0.0.0.0/", bad: "tokenUrl"},
		{url: "https://169.254.169.254/", bad: "tokenUrl"},
		{url: "https://192.168.0.1/", bad: "tokenUrl"},
		{url: "https://255.255.255.255/", bad: "tokenUrl"},
		{url: "https://localhost/", bad: "tokenUrl"},
		{url: "https://LOCALHOST./", bad: "tokenUrl"},
		{url: "https://api.localhost/", bad: "tokenUrl"},
		{url: "https://[::1]/", bad: "tokenUrl"},
		{url: "https://[::]/", bad: "tokenUrl"},
		{url: "https://[::ffff:10.0.0.1]/", bad: "tokenUrl"},
		{url: "https://[fd00::1]/", bad: "tokenUrl"},
		{url: "https://[fe80::1%25eth0]/", bad: "tokenUrl"},
		{url: "https://[::1%25lo]/", allowed: loopback, bad: "tokenUrl"},
		{url: "https://[2606:4700::1111%25eth0]/", bad: "tokenUrl"},
		{url: "https://[{tenant}]/", bad: "tokenUrl"},
		{url: "https://[myservice.com]/", bad: "tokenUrl"},

		// A placeholder never brings http: to a host that it can choose.
		{url: "http://{tenant}/", allowed: loopback, bad: "tokenUrl"},
		{url: "http://127.0.0.{tenant}/", allowed: loopback, bad: "tokenUrl"},
		{url: "http://127.0.0.1{tenant}/", allowed: loopback, bad: "tokenUrl"},
		{url: "http://localhost{tenant}/", allowed: loopback, bad: "tokenUrl"},

		// The rest of the URL.
		{url: "https://myservice.com/token#", bad: "tokenUrl"},
		{url: "https://myservice.com/token#top", bad: "tokenUrl"},
		{url: "https://myservice.com/#/{tenant}", bad: "tokenUrl"},
		{url: "https://myservice.com/a b", bad: "tokenUrl"},
		{url: " https://myservice.com/", bad: "tokenUrl"},
		{url: "https://myservice.com/\r\nX-Evil: 1", bad: "tokenUrl"},
		{url: "https://myservice.com/\x00", bad: "tokenUrl"},
		{url: "https://myservice.com/\u202e", bad: "tokenUrl"},
		{url: "https://myservice.com/\xff", bad: "tokenUrl"},
		{url: "https://myservice.com/{ten-ant}", bad: "tokenUrl"},
		{url: "https://myservice.com/{tenant", bad: "tokenUrl"},
		{url: "https://myservice.com/{}", bad: "tokenUrl"},
		{url: "https://myservice.com/a/../token", bad: "tokenUrl"},
		{url: "https://myservice.com/a/%2e%2e/token", bad: "tokenUrl"},
		{url: "https://myservice.com/" + strings.Repeat("a", 4000), bad: "tokenUrl"},

		// Placeholders.
		{url: "https://myservice.com/{unknown}/token", bad: "tokenUrl"},
		{url: "https://{free}.myservice.com/", bad: "inputs.free.pattern"},
		{url: "https://myservice.com{free}/", bad: "inputs.free.pattern"},
		{url: "https://{any}.myservice.com/", bad: "inputs.any.pattern"},
		{url: "https://{any}?x=y", bad: "inputs.any.pattern"},
		{url: "https://{instance}/token", bad: "inputs.instance.pattern"},
		{url: "https://{client_id}.myservice.com/token", bad: "inputs.client_id.pattern"},
	}
	for _, test := range tests {
		d := definition(func(d *broker.Definition) { d.TokenURL = test.url })
		got := paths(t, d.Check(test.allowed))
		var want []string
		if test.bad != "" {
			want = []string{test.bad}
		}
		if !slices.Equal(got, want) {
			t.Errorf("Check(tokenUrl: %q, allowing %v) names %q, want %q", test.url, test.allowed, got, want)
		}
	}
}

// TestCheckEveryURL makes sure that no endpoint is forgotten.
func TestCheckEveryURL(t *testing.T) {
	const private = "https://169.254.169.254/latest"
	tests := map[string]func(*broker.Definition){
		"authorizationUrl":       func(d *broker.Definition) { d.AuthorizationURL = private },
		"tokenUrl":               func(d *broker.Definition) { d.TokenURL = private },
		"issuer":                 func(d *broker.Definition) { d.Issuer = private },
		"refreshRequest.url":     func(d *broker.Definition) { d.RefreshRequest.URL = private },
		"revocationUrl":          func(d *broker.Definition) { d.RevocationURL = private },
		"introspectionUrl":       func(d *broker.Definition) { d.IntrospectionURL = private },
		"deviceAuthorizationUrl": func(d *broker.Definition) { d.DeviceAuthorizationURL = private },
		"identity.url":           func(d *broker.Definition) { d.Identity = &broker.IdentityRequest{URL: private} },
		"apiHosts":               func(d *broker.Definition) { d.APIHosts = []string{"169.254.169.254"} },
	}
	for path, change := range tests {
		got := paths(t, definition(change).Check(nil))
		if !slices.Equal(got, []string{path}) {
			t.Errorf("Check(%s: %s) names %q, want %q alone", path, private, got, path)
		}
	}
}

func TestCheckFields(t *testing.T) {
	tests := []struct {
		name   string
		change func(*broker.Definition)
		bad    string
	}{
		{"nothing", func(d *broker.Definition) {}, ""},
		{"empty maps", func(d *broker.Definition) { d.AdditionalAuthParams = map[string]string{} }, ""},
		{"issuer alone", func(d *broker.Definition) { d.Issuer, d.AuthorizationURL, d.TokenURL = "https://a.example", "", "" }, ""},
		{"client credentials without a page", func(d *broker.Definition) {
			d.AuthorizationURL, d.GrantTypes = "", []broker.GrantType{broker.GrantClientCredentials}
		}, ""},
		{"api host by tenant", func(d *broker.Definition) { d.APIHosts = []string{"{tenant}.myservice.com"} }, ""},

		{"no id", func(d *broker.Definition) { d.ID = "" }, "id"},
		{"id with a slash", func(d *broker.Definition) { d.ID = "a/b" }, "id"},
		{"id that climbs", func(d *broker.Definition) { d.ID = ".." }, "id"},
		{"id with a line break", func(d *broker.Definition) { d.ID = "a\n" }, "id"},
		{"long id", func(d *broker.Definition) { d.ID = strings.Repeat("a", 65) }, "id"},
		{"id of the schema", func(d *broker.Definition) { d.ID = "schema" }, "id"},
		{"blank name", func(d *broker.Definition) { d.Name = " " }, "name"},
		{"name that moves the cursor", func(d *broker.Definition) { d.Name = "a\x1b[2J" }, "name"},
		{"long description", func(d *broker.Definition) { d.Description = strings.Repeat("a", 501) }, "description"},
		{"no token endpoint", func(d *broker.Definition) { d.TokenURL = "" }, "tokenUrl"},
		{"no page", func(d *broker.Definition) { d.AuthorizationURL = "" }, "authorizationUrl"},
		{"issuer with a query", func(d *broker.Definition) { d.Issuer = "https://a.example?x" }, "issuer"},
		{"script for documentation", func(d *broker.Definition) { d.DocsURL = "javascript:alert(1)" }, "docsUrl"},
		{"state fixed", func(d *broker.Definition) { d.AdditionalAuthParams = map[string]string{"state": "x"} }, "additionalAuthParams.state"},
		{"empty scope", func(d *broker.Definition) { d.DefaultScopes = []string{""} }, "defaultScopes"},
		{"scope with a space", func(d *broker.Definition) { d.RequiredScopes = []string{"a b"} }, "requiredScopes"},
		{"unknown grant", func(d *broker.Definition) { d.GrantTypes = []broker.GrantType{"authorization_code", "implicit"} }, "grantTypes"},
		{"unknown pkce", func(d *broker.Definition) { d.PKCE = "plain" }, "pkce"},
		{"unknown client authentication", func(d *broker.Definition) { d.ClientAuthentication = "basic" }, "clientAuthentication"},
		{"unknown format", func(d *broker.Definition) { d.TokenRequest.Format = "xml" }, "tokenRequest.format"},
		{"token URL twice", func(d *broker.Definition) { d.TokenRequest.URL = "https://a.example" }, "tokenRequest.url"},
		{"unknown rotation", func(d *broker.Definition) { d.Refresh.Rotation = "yes" }, "refresh.rotation"},
		{"header with a line break", func(d *broker.Definition) { d.TokenRequest.Headers = map[string]string{"A": "b\r\nC: d"} }, "tokenRequest.headers"},
		{"header without a name", func(d *broker.Definition) { d.RefreshRequest.Headers = map[string]string{"": "b"} }, "refreshRequest.headers"},
		{"identity header with a space", func(d *broker.Definition) {
			d.Identity = &broker.IdentityRequest{URL: "https://a.example/me", Headers: map[string]string{"a b": "c"}}
		}, "identity.headers"},
		{"identity without a URL", func(d *broker.Definition) { d.Identity = &broker.IdentityRequest{} }, "identity.url"},
		{"identity by DELETE", func(d *broker.Definition) {
			d.Identity = &broker.IdentityRequest{URL: "https://a.example/me", Method: "DELETE"}
		}, "identity.method"},
		{"revocation in full", func(d *broker.Definition) {
			d.RevocationURL = "https://myservice.com/apps/{client_id}/{tenant}"
			d.RevocationRequest = broker.RevocationRequest{
				Method: "DELETE", Format: "json", Headers: map[string]string{"A": "b"}, Params: map[string]*string{"token_type_hint": nil},
				Rename: map[string]string{"token": "access_token"}, ClientAuthentication: broker.ClientAuthBearer, Token: "both", Gone: []string{"404", "token_revoked"},
			}
		}, ""},
		{"revocation at an issuer's endpoint", func(d *broker.Definition) {
			d.Issuer, d.RevocationRequest.Method = "https://a.example", "DELETE"
		}, ""},
		{"revocation without a URL", func(d *broker.Definition) { d.RevocationRequest.Method = "POST" }, "revocationUrl"},
		{"revocation by GET", revocation(broker.RevocationRequest{Method: "GET"}), "revocationRequest.method"},
		{"revocation in XML", revocation(broker.RevocationRequest{Format: "xml"}), "revocationRequest.format"},
		{"revocation header with a line break", revocation(broker.RevocationRequest{Headers: map[string]string{"A": "b\nC: d"}}), "revocationRequest.headers"},
		{"revocation by certificate", revocation(broker.RevocationRequest{ClientAuthentication: broker.TLSClientAuth}), "revocationRequest.clientAuthentication"},
		{"bearer without a token", revocation(broker.RevocationRequest{ClientAuthentication: broker.ClientAuthBearer}), "revocationRequest.token"},
		{"unknown token", revocation(broker.RevocationRequest{Token: "id_token"}), "revocationRequest.token"},
		{"gone for no reason", revocation(broker.RevocationRequest{Gone: []string{""}}), "revocationRequest.gone"},
		{"gone at a success", revocation(broker.RevocationRequest{Gone: []string{"200"}}), "revocationRequest.gone"},
		{"gone in an outage", revocation(broker.RevocationRequest{Gone: []string{"503"}}), "revocationRequest.gone"},
		{"gone for too many requests", revocation(broker.RevocationRequest{Gone: []string{"429"}}), "revocationRequest.gone"},
		{"bearer elsewhere", func(d *broker.Definition) { d.ClientAuthentication = broker.ClientAuthBearer }, "clientAuthentication"},
		{"empty path", func(d *broker.Definition) { d.TokenResponse.AccessToken = broker.Paths{"a", ""} }, "tokenResponse.accessToken"},
		{"success without a path", func(d *broker.Definition) { d.TokenResponse.Success = &broker.SuccessCheck{Equals: true} }, "tokenResponse.success.path"},
		{"negative lifetime", func(d *broker.Definition) { d.TokenResponse.DefaultExpiresIn = -1 }, "tokenResponse.defaultExpiresIn"},
		{"capture under no name", func(d *broker.Definition) { d.TokenResponse.Capture["a-b"] = "c" }, "tokenResponse.capture"},
		{"input under no name", func(d *broker.Definition) { d.Inputs["a}{b"] = broker.Input{} }, "inputs.a}{b"},
		{"input of the protocol", func(d *broker.Definition) { d.Inputs["client_id"] = broker.Input{} }, "inputs.client_id"},
		{"broken pattern", func(d *broker.Definition) { d.Inputs["tenant"] = broker.Input{Pattern: "("} }, "inputs.tenant.pattern"},
		{"pattern that undoes the anchors", func(d *broker.Definition) { d.Inputs["tenant"] = broker.Input{Pattern: "a)|(?:b"} }, "inputs.tenant.pattern"},
		{"pattern that swallows the anchors", func(d *broker.Definition) { d.Inputs["tenant"] = broker.Input{Pattern: `\Qa`} }, "inputs.tenant.pattern"},
		{"default beside the pattern", func(d *broker.Definition) { d.Inputs["tenant"] = broker.Input{Pattern: "[a-z]+", Default: "a1"} }, "inputs.tenant.default"},
		{"more blocks", func(d *broker.Definition) {
			d.AuthorizationRequest = broker.AuthorizationRequestShape{ResponseType: "none", Rename: map[string]string{"client_id": "client_key"}}
			d.LongLivedRequest = broker.TokenRequest{URL: "https://myservice.com/long", Method: "GET", Format: "query"}
			d.TokenResponse.ExpiresAt = broker.Paths{"expires_at"}
			d.Lookup = &broker.Lookup{URL: "https://myservice.com/me", Capture: map[string]string{"site": "0.id"}}
			d.Identity = &broker.IdentityRequest{URL: "https://myservice.com/{site}/{realm}"}
			d.Inputs["realm"] = broker.Input{Callback: "realmId", Enum: []string{"a", "b"}, Default: "a", StripPrefix: "https://"}
			d.RefreshRequest.URL = "https://{realm}/token"
		}, ""},
		{"GET with a body", func(d *broker.Definition) { d.TokenRequest = broker.TokenRequest{Method: "GET"} }, "tokenRequest.format"},
		{"refresh by PUT", func(d *broker.Definition) { d.RefreshRequest.Method = "PUT" }, "refreshRequest.method"},
		{"long-lived token from nowhere", func(d *broker.Definition) { d.LongLivedRequest.Format = "json" }, "longLivedRequest.url"},
		{"implicit grant", func(d *broker.Definition) { d.AuthorizationRequest.ResponseType = "token" }, "authorizationRequest.responseType"},
		{"implicit grant besides", func(d *broker.Definition) { d.AuthorizationRequest.ResponseType = "code token" }, "authorizationRequest.responseType"},
		{"state renamed", func(d *broker.Definition) { d.AuthorizationRequest.Rename = map[string]string{"state": "s"} }, "authorizationRequest.rename.state"},
		{"renamed to the protocol's", func(d *broker.Definition) { d.AuthorizationRequest.Rename = map[string]string{"scope": "state"} }, "authorizationRequest.rename.scope"},
		{"lookup without a URL", func(d *broker.Definition) { d.Lookup = &broker.Lookup{Capture: map[string]string{"a": "b"}} }, "lookup.url"},
		{"lookup for naught", func(d *broker.Definition) { d.Lookup = &broker.Lookup{URL: "https://a.example"} }, "lookup.capture"},
		{"lookup by http", func(d *broker.Definition) {
			d.Lookup = &broker.Lookup{URL: "http://a.example", Capture: map[string]string{"a": "b"}}
		}, "lookup.url"},
		{"lookup header with a line break", func(d *broker.Definition) {
			d.Lookup = &broker.Lookup{URL: "https://a.example", Capture: map[string]string{"a": "b"}, Headers: map[string]string{"A": "b\nC: d"}}
		}, "lookup.headers"},
		{"looked up host", func(d *broker.Definition) {
			d.Lookup = &broker.Lookup{URL: "https://a.example", Capture: map[string]string{"site": "id"}}
			d.Identity = &broker.IdentityRequest{URL: "https://{site}/me"}
		}, "inputs.site.pattern"},
		{"input of the daemon's own", func(d *broker.Definition) { d.Inputs["random"] = broker.Input{} }, "inputs.random"},
		{"captured token", func(d *broker.Definition) { d.TokenResponse.Capture["access_token"] = "c" }, "tokenResponse.capture"},
		{"default beside the enum", func(d *broker.Definition) { d.Inputs["tenant"] = broker.Input{Enum: []string{"a"}, Default: "b"} }, "inputs.tenant.default"},
		{"empty value", func(d *broker.Definition) { d.Inputs["tenant"] = broker.Input{Enum: []string{"a", ""}} }, "inputs.tenant.enum"},
		{"enum that ends a host", func(d *broker.Definition) {
			d.Inputs["region"] = broker.Input{Enum: []string{"eu", "evil.example/"}}
			d.RevocationURL = "https://{region}.myservice.com/revoke"
		}, "inputs.region.enum"},
		{"redirect that chooses any host", func(d *broker.Definition) {
			d.Inputs["server"] = broker.Input{Pattern: "[a-z.]+", Callback: "server"}
			d.RevocationURL = "https://{server}/revoke"
		}, "inputs.server.enum"},
		{"redirect that chooses a subdomain", func(d *broker.Definition) {
			d.Inputs["server"] = broker.Input{Pattern: "[a-z]+", Callback: "server"}
			d.RevocationURL = "https://{server}.myservice.com/revoke"
		}, ""},
		{"page that the redirect chooses", func(d *broker.Definition) {
			d.Inputs["server"] = broker.Input{Pattern: "[a-z]+", Callback: "server"}
			d.AuthorizationURL = "https://myservice.com/{server}"
		}, "authorizationUrl"},
		{"redirect that brings a code", func(d *broker.Definition) { d.Inputs["tenant"] = broker.Input{Callback: "code"} }, "inputs.tenant.callback"},
		{"api host with a path", func(d *broker.Definition) { d.APIHosts = []string{"api.myservice.com/v1"} }, "apiHosts"},
		{"api host with a scheme", func(d *broker.Definition) { d.APIHosts = []string{"https://api.myservice.com"} }, "apiHosts"},
		{"any api host", func(d *broker.Definition) { d.APIHosts = []string{"*"} }, "apiHosts"},
		{"empty api host", func(d *broker.Definition) { d.APIHosts = []string{""} }, "apiHosts"},
		{"api host that anybody chooses", func(d *broker.Definition) { d.APIHosts = []string{"{free}"} }, "inputs.free.pattern"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := paths(t, definition(test.change).Check(nil))
			var want []string
			if test.bad != "" {
				want = []string{test.bad}
			}
			if !slices.Equal(got, want) {
				t.Errorf("Check() names %q, want %q", got, want)
			}
		})
	}
}

// revocation returns a change that adds a revocation.
func revocation(r broker.RevocationRequest) func(*broker.Definition) {
	return func(d *broker.Definition) {
		d.RevocationURL, d.RevocationRequest = "https://myservice.com/oauth/revoke", r
	}
}

// TestCheckNamesAll makes sure that one look shows everything there is to mend,
// in the same order each time.
func TestCheckNamesAll(t *testing.T) {
	want := []string{"authorizationUrl", "id", "name", "pkce", "tokenUrl"}
	for range 20 {
		got := paths(t, (&broker.Definition{PKCE: "off"}).Check(nil))
		if !slices.Equal(got, want) {
			t.Fatalf("Check() names %q, want %q", got, want)
		}
	}
}
