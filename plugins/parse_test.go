package plugins_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/plugins"
)

// TestParseContract reads the example of the contract, which uses every field.
func TestParseContract(t *testing.T) {
	data, err := os.ReadFile("testdata/my_service.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := plugins.Parse("my_service.yaml", data)
	if err != nil {
		t.Fatalf("Parse() = %v", err)
	}
	if err := got.Check(nil); err != nil {
		t.Errorf("Check() = %v, want nil", err)
	}
	empty := map[string]string{}
	want := broker.Definition{
		ID: "my_service", Name: "My Service", Description: "Access My Service API", Icon: "Cloud", Category: "other",
		AuthorizationURL: "https://myservice.com/oauth/authorize", TokenURL: "https://myservice.com/oauth/token",
		DocsURL: "https://myservice.com/docs", DefaultScopes: []string{"read", "write"}, RequiredScopes: []string{"offline_access"},
		ScopeSeparator: ",", AdditionalAuthParams: map[string]string{"access_type": "offline"}, SupportsRefresh: new(true),
		GrantTypes: []broker.GrantType{broker.GrantAuthorizationCode, broker.GrantRefreshToken},
		PKCE:       broker.PKCERequired, ClientAuthentication: broker.ClientSecretBasic,
		TokenRequest: broker.TokenRequest{Format: "json", Headers: empty, Params: map[string]*string{}, Rename: empty},
		TokenResponse: broker.TokenResponseShape{
			AccessToken: broker.Paths{"access_token"}, RefreshToken: broker.Paths{"refresh_token"}, ExpiresIn: broker.Paths{"expires_in"},
			Scope: broker.Paths{"scope"}, Success: &broker.SuccessCheck{Path: "ok", Equals: true}, ErrorCode: broker.Paths{"error"},
			ErrorDescription: broker.Paths{"error_description"}, ReauthErrors: []string{"invalid_grant"}, DefaultExpiresIn: 3600, Capture: empty,
		},
		Refresh: broker.RefreshPolicy{
			Rotation: "always", ReuseGrace: broker.Duration(30 * time.Second), Lead: broker.Duration(5 * time.Minute),
			IdleLifetime: broker.Duration(2160 * time.Hour), MaxLifetime: broker.Duration(8760 * time.Hour),
		},
		RevocationURL: "https://myservice.com/oauth/revoke", IntrospectionURL: "https://myservice.com/oauth/introspect",
		DeviceAuthorizationURL: "https://myservice.com/oauth/device",
		Identity:               &broker.IdentityRequest{URL: "https://api.myservice.com/me", Method: "GET", Headers: empty, Subject: "id", Label: "email"},
		Inputs:                 map[string]broker.Input{"tenant": {Label: "Tenant", Default: "common", Pattern: "^[a-z0-9.-]+$"}},
		APIHosts:               []string{"api.myservice.com"}, Override: true,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Parse() = %+v, want %+v", got, want)
	}
}

// TestParseGuide reads the examples of the guide as they stand.
func TestParseGuide(t *testing.T) {
	for name, text := range map[string]string{
		"json": `{"id": "my_service", "name": "My Service", "description": "Access My Service API", "icon": "Cloud",
			"authorizationUrl": "https://myservice.com/oauth/authorize",
			"tokenUrl": "https://myservice.com/oauth/token",
			"defaultScopes": ["read", "write"], "supportsRefresh": true, "category": "other"}`,
		"json with tabs":  "{\n\t\"id\":\t\"my_service\",\n\t\"name\": \"My Service\",\n\t\"issuer\": \"https:\\/\\/myservice.com\",\n\t\"description\": \"\\u2014\"\n}\n",
		"without quotes":  "{id: my_service, name: My Service, authorizationUrl: 'https://myservice.com/oauth/authorize', tokenUrl: 'https://myservice.com/oauth/token', additionalAuthParams: {}}",
		"first four keys": "id: my_service\nname: My Service\nauthorizationUrl: https://myservice.com/oauth/authorize\ntokenUrl: https://myservice.com/oauth/token\n",
		"byte order mark": "\ufeffid: my_service\nname: My Service\nissuer: https://myservice.com\n",
		"CR LF":           "---\r\nid: my_service\r\nname: My Service\r\nissuer: https://myservice.com\r\n...\r\n",
	} {
		d, err := plugins.Parse(name, []byte(text))
		if err != nil {
			t.Errorf("Parse(%s) = %v, want a definition", name, err)
			continue
		}
		if err := d.Check(nil); err != nil || d.ID != "my_service" {
			t.Errorf("Parse(%s) has id %q and Check() = %v, want my_service and nil", name, d.ID, err)
		}
	}
}

func TestParseValues(t *testing.T) {
	d, err := plugins.Parse("a.yaml", []byte(`
id: 007
name: yes
icon:
additionalAuthParams: {include_granted_scopes: true, version: 2022-06-28, depth: 1.50, empty: "", n: "null"}
tokenRequest: {params: {redirect_uri: null, grant_type: web_server}}
tokenResponse: {accessToken: [a, b.c], scope: d, success: {path: status, equals: 0}, defaultExpiresIn: 3600}
supportsRefresh: false
refresh: {reuseGrace: unlimited}
`))
	if err != nil {
		t.Fatalf("Parse() = %v", err)
	}
	want := broker.Definition{
		ID: "007", Name: "yes",
		AdditionalAuthParams: map[string]string{"include_granted_scopes": "true", "version": "2022-06-28", "depth": "1.50", "empty": "", "n": "null"},
		TokenRequest:         broker.TokenRequest{Params: map[string]*string{"redirect_uri": nil, "grant_type": new("web_server")}},
		TokenResponse: broker.TokenResponseShape{
			AccessToken: broker.Paths{"a", "b.c"}, Scope: broker.Paths{"d"},
			Success: &broker.SuccessCheck{Path: "status", Equals: float64(0)}, DefaultExpiresIn: 3600,
		},
		SupportsRefresh: new(false),
		Refresh:         broker.RefreshPolicy{ReuseGrace: broker.Unlimited},
	}
	if !reflect.DeepEqual(d, want) {
		t.Errorf("Parse() = %+v, want %+v", d, want)
	}
}

// TestParseJSONEscapes makes sure that JSON means in a file what it means
// everywhere else.
func TestParseJSONEscapes(t *testing.T) {
	for _, text := range []string{
		`"\"\\\/\b\f\n\r\t"`, `"\\\/"`, `"\\u002f"`, `"\u00e9\u2014\u0041"`, `"\ud83d\ude00"`, `"\uD83D\uDE00x"`,
		`"\ud83d"`, `"\ud83dx"`, `"\ud83d\n"`, `"\ud83d\u0041"`, `"\ude00\ud83d"`, `"\ud83d\ud83d\ude00"`, `"😀"`,
	} {
		var want string
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		d, err := plugins.Parse("a.json", []byte(`{"description":`+text+`}`))
		if err != nil || d.Description != want {
			t.Errorf("Parse(description: %s) = %q, %v, want %q", text, d.Description, err, want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"empty", "", "p.yaml:1: is empty; write a provider definition, which begins with id: and name:"},
		{"comment", "# nothing\n", "p.yaml:1: is empty; write a provider definition, which begins with id: and name:"},
		{"list", "- id: a", "p.yaml:1: the definition: write keys with values, like {name: value}"},
		{"text", "hello", "p.yaml:1: the definition: write keys with values, like {name: value}"},
		{"no YAML", "id: a\nname: [", "p.yaml:2: is no YAML: did not find expected node content"},
		{"two documents", "id: a\n---\nid: b\n", `p.yaml:2: begins a second document; write one definition to a file`},
		{"two JSON values", `{"id": "a"} {"id": "b"}`, "p.yaml:1: is no YAML: did not find expected <document start>"},
		{"snake case", "id: a\ntoken_url: https://a.example\n", `p.yaml:2: there is no key "token_url"; write "tokenUrl"`},
		{"capitals", "id: a\ntokenURL: https://a.example\n", `p.yaml:2: there is no key "tokenURL"; write "tokenUrl"`},
		{"typing error", "id: a\nscopeSeperator: ','\n", `p.yaml:2: there is no key "scopeSeperator"; write "scopeSeparator"`},
		{"deep typing error", "id: a\nrefresh:\n  rotation: never\n  idleLifeTime: 1h\n", `p.yaml:4: there is no key "refresh.idleLifeTime"; write "idleLifetime"`},
		{"stranger", "id: a\nidentity: {xyzzy: 1}\n", `p.yaml:2: there is no key "identity.xyzzy"; write one of body, headers, label, method, subject, url`},
		{"key twice", "id: a\nname: b\nid: c\n", `p.yaml:3: the key "id" stands here a second time; remove one`},
		{"deep key twice", "tokenRequest:\n  headers: {a: b, a: c}\n", `p.yaml:2: the key "tokenRequest.headers.a" stands here a second time; remove one`},
		{"key twice in JSON", `{"id": "a", "\u0069d": "b"}`, `p.yaml:1: the key "id" stands here a second time; remove one`},
		{"key that is a list", "? [a]\n: b\n", "p.yaml:1: the definition: a key has to be plain text"},
		{"merged keys", "<<: {id: a}\n", "p.yaml:1: the definition: a key has to be plain text"},
		{"anchor", "id: &a b\n", "p.yaml:1: id: write the value out, without & and *"},
		{"alias", "defaultScopes: &a [b]\nrequiredScopes: *a\n",
			"p.yaml:1: defaultScopes: write the value out, without & and *\np.yaml:2: requiredScopes: write the value out, without & and *"},
		{"tag", "id: !!binary aGVsbG8=\n", "p.yaml:1: id: write the value without the tag !!binary"},
		{"list for text", "id: a\nname: [b]\n", "p.yaml:2: name: write one value"},
		{"text for list", "defaultScopes: read write\n", "p.yaml:1: defaultScopes: write a list, like [one, two]"},
		{"empty item", "defaultScopes:\n- read\n-\n", "p.yaml:3: defaultScopes: write one value"},
		{"text for object", "refresh: always\n", "p.yaml:1: refresh: write keys with values, like {name: value}"},
		{"yes for true", "supportsRefresh: yes\n", "p.yaml:1: supportsRefresh: write true or false"},
		{"fraction", "tokenResponse: {defaultExpiresIn: 1.5}\n", "p.yaml:1: tokenResponse.defaultExpiresIn: write a whole number"},
		{"huge number", "tokenResponse: {defaultExpiresIn: 99999999999999999999}\n", "p.yaml:1: tokenResponse.defaultExpiresIn: write a whole number"},
		{"list to equal", "tokenResponse: {success: {path: ok, equals: [1]}}\n", "p.yaml:1: tokenResponse.success.equals: write one value"},
		{"not a number", "tokenResponse: {success: {path: ok, equals: .nan}}\n",
			"p.yaml:1: tokenResponse.success.equals: write a text in quotes, a whole number, true or false"},
		{"no duration", "refresh:\n  lead: 5 minutes\n", `p.yaml:2: refresh.lead: "5 minutes" is no duration; write it like 30s, 10m or 2160h`},
		{"everything at once", "ID: a\npkce: [x]\nrefresh: {lead: -1s}\n",
			"p.yaml:1: there is no key \"ID\"; write \"id\"\np.yaml:2: pkce: write one value\n" +
				`p.yaml:3: refresh.lead: "-1s" is no duration; write it like 30s, 10m or 2160h`},
		{"too large", "# " + strings.Repeat("a", 64<<10), "p.yaml:1: is larger than 64 KiB"},
		{"control character", "id: a\nname: \"\x01\"\n", "p.yaml:1: is no YAML: control characters are not allowed"},
		{"deeply nested", strings.Repeat("[", 20_000), "p.yaml:1: is no YAML: exceeded max depth of 10000"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d, err := plugins.Parse("p.yaml", []byte(test.text))
			if err == nil || err.Error() != test.want {
				t.Errorf("Parse() = %v, want %s", err, test.want)
			}
			if !reflect.ValueOf(d).IsZero() {
				t.Errorf("Parse() = %+v with an error, want the zero definition", d)
			}
		})
	}
}

// FuzzParse makes sure that what is accepted survives a round trip through JSON
// and that an error comes with no definition and a place.
func FuzzParse(f *testing.F) {
	data, err := os.ReadFile("testdata/my_service.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	for _, seed := range []string{
		"", "id: a", `{"id": "a", "tokenRequest": {"params": {"x": null}}}`, "a: &a [*a]", "<<: {}", "? - a\n: b",
		"tokenResponse: {accessToken: [], success: {path: a, equals: 0x10}}", "id: |\n  a\n  b\n", "%YAML 1.1\n---\nid: a",
		"refresh: {lead: 1h}", "inputs: {a: {pattern: \"\\x41\"}}", "--- {}\n...\n", `{"name": "\\/\ud83d\ude00\ud83d"}`, "supportsRefresh: ~",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := plugins.Parse("p", data)
		if err != nil {
			if _, ok := errors.AsType[*plugins.SyntaxError](err); !ok {
				t.Errorf("Parse(%q) = %T %v, want a *SyntaxError", data, err, err)
			}
			if !reflect.ValueOf(d).IsZero() {
				t.Errorf("Parse(%q) = %+v with an error, want the zero definition", data, d)
			}
			return
		}
		if err := d.Check(nil); err != nil {
			if _, ok := errors.AsType[*broker.InvalidError](err); !ok {
				t.Errorf("Check(%q) = %T %v, want an *InvalidError", data, err, err)
			}
		}
		first := marshal(t, d)
		// A block with nothing in it says as much as none.
		for _, block := range []string{"tokenRequest", "tokenResponse", "refreshRequest", "revocationRequest"} {
			first = bytes.Replace(first, []byte(`,"`+block+`":{}`), nil, 1)
		}
		decoder := json.NewDecoder(bytes.NewReader(first))
		decoder.DisallowUnknownFields()
		var again broker.Definition
		if err := decoder.Decode(&again); err != nil {
			t.Fatalf("decoding %s, made of %q: %v", first, data, err)
		}
		if second := marshal(t, again); !bytes.Equal(first, second) {
			t.Errorf("Parse(%q) = %s, which reads as %s", data, first, second)
		}
	})
}

func marshal(t *testing.T, d broker.Definition) []byte {
	t.Helper()
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatalf("Marshal(%+v) = %v", d, err)
	}
	return text
}
