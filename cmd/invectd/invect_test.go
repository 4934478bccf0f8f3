package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

// The tests in this file play the web client of Invect (robase/invect at
// ce7d78ff: pkg/ui/src/api/client.ts, api/types.ts and the components that call
// them) as it is, in a browser, through a bridge to the socket.

const (
	invectMount  = "/invect"
	invectOrigin = "http://localhost:5173"
	// invectRedirect is the page of the front end that hands the code on.
	invectRedirect = invectOrigin + invectMount + "/oauth/callback"
)

// startBridge runs what stands between a browser and the socket: it takes the
// mount off, and Origin and Referer.
func startBridge(t *testing.T, socket string) *httptest.Server {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	bridge := httptest.NewServer(http.StripPrefix(invectMount, &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: "localhost"})
			r.Out.Header.Del("Origin")
			r.Out.Header.Del("Referer")
		},
	}))
	t.Cleanup(bridge.Close)
	return bridge
}

// A page is one browser tab with Invect's web client in it.
type invectPage struct {
	t    *testing.T
	base string
}

func openInvect(t *testing.T, d *testDaemon) invectPage {
	t.Helper()
	return invectPage{t, startBridge(t, d.socket).URL + invectMount}
}

// request sends what ApiClient.request sends: JSON's type and the user's id on
// every request, with a body or without one.
func (p invectPage) request(method, path string, body any) (status int, answer []byte) {
	p.t.Helper()
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			p.t.Fatal(err)
		}
		sent = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(p.t.Context(), method, p.base+path, sent)
	if err != nil {
		p.t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "X-User-ID": "user_123", // the client's own
		"Accept": "*/*", "Origin": invectOrigin, "Referer": invectOrigin + "/", "Cookie": "session=1", // the browser's
		"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-site", "User-Agent": "Mozilla/5.0",
	} {
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		p.t.Fatalf("%s %s = %v", method, path, err)
	}
	defer response.Body.Close()
	if answer, err = io.ReadAll(response.Body); err != nil {
		p.t.Fatalf("%s %s = %v", method, path, err)
	}
	return response.StatusCode, answer
}

// do is a request that succeeds, and whose answer has to be of a shape.
func (p invectPage) do(method, path string, body any, want shape) map[string]any {
	p.t.Helper()
	status, answer := p.request(method, path, body)
	var object map[string]any
	if err := json.Unmarshal(answer, &object); err != nil || status < 200 || status > 299 {
		p.t.Fatalf("%s %s is answered %d %s, want 2xx and an object", method, path, status, answer)
	}
	want.check(p.t, method+" "+path, object)
	return object
}

// list is a GET whose answer is a bare array.
func (p invectPage) list(path string, want shape) []map[string]any {
	p.t.Helper()
	status, answer := p.request("GET", path, nil)
	var list []map[string]any
	if err := json.Unmarshal(answer, &list); err != nil || status != http.StatusOK || list == nil {
		p.t.Fatalf("GET %s is answered %d %s, want an array", path, status, answer)
	}
	for _, object := range list {
		want.check(p.t, "GET "+path, object)
	}
	return list
}

// fails is a request that is refused in a way that the client can show.
func (p invectPage) fails(method, path string, body any, status int, code string) {
	p.t.Helper()
	got, answer := p.request(method, path, body)
	var object map[string]any
	if err := json.Unmarshal(answer, &object); err != nil || got != status || object["code"] != code {
		p.t.Errorf("%s %s is answered %d %s, want %d %s", method, path, got, answer, status, code)
		return
	}
	errorShape.check(p.t, method+" "+path, object)
	for _, name := range []string{"validation", "response"} { // the client would take it for a flow's validation
		if _, has := object[name]; has {
			p.t.Errorf("%s %s is answered with a field %q", method, path, name)
		}
	}
}

// A shape is a TypeScript interface: the kind of each field. "?" allows that it
// is absent, "|null" that it is null, which the client's types leave out and its
// components expect.
type shape map[string]string

var (
	// credentialShape is Credential. Its userId is never read, and no server
	// sends it.
	credentialShape = shape{
		"id": "string", "name": "string", "type": "string", "authType": "string", "config": "object",
		"description": "string|null", "isActive": "boolean", "isShared": "boolean", "workspaceId": "string|null",
		"metadata": "object", "lastUsedAt": "time|null", "expiresAt": "time|null", "createdAt": "time", "updatedAt": "time",
	}
	// listedShape is Credential as lists have it.
	listedShape   = credentialShape.with("config", "")
	providerShape = shape{ // OAuth2ProviderDefinition
		"id": "string", "name": "string", "description": "string", "icon": "string?", "authorizationUrl": "string",
		"tokenUrl": "string", "defaultScopes": "strings", "additionalAuthParams": "record?", "supportsRefresh": "boolean",
		"docsUrl": "string?", "category": "string",
	}
	startedShape  = shape{"authorizationUrl": "string", "state": "string", "codeVerifier": ""}
	testShape     = shape{"success": "boolean", "error": "string?"}
	usageShape    = shape{"flowsCount": "number", "nodesCount": "number", "lastUsedAt": "time|null"}
	responseShape = shape{"status": "number", "statusText": "string", "ok": "boolean", "body": "any"}
	errorShape    = shape{"error": "string", "code": "string"}
)

// with returns the shape with another kind for one field; "" is one that must
// not be there.
func (s shape) with(name, kind string) shape {
	out := maps.Clone(s)
	out[name] = kind
	return out
}

// check reports each field that is missing or of another kind.
func (s shape) check(t *testing.T, what string, object map[string]any) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(s)) {
		kind := s[name]
		value, has := object[name]
		kind, optional := strings.CutSuffix(kind, "?")
		kind, nullable := strings.CutSuffix(kind, "|null")
		switch {
		case kind == "" && has:
			t.Errorf("%s: field %s is there, want it absent", what, name)
		case kind == "", !has && optional, has && value == nil && nullable:
		case !has:
			t.Errorf("%s: field %s is missing, want %s", what, name, s[name])
		case !isKind(value, kind):
			t.Errorf("%s: field %s is %v (%T), want %s", what, name, value, value, s[name])
		}
	}
}

func isKind(value any, kind string) bool {
	switch value := value.(type) {
	case string:
		_, err := time.Parse(time.RFC3339, value)
		return kind == "string" || kind == "any" || kind == "time" && err == nil
	case bool:
		return kind == "boolean" || kind == "any"
	case float64:
		return kind == "number" || kind == "any"
	case []any:
		return kind == "any" || kind == "strings" && !slices.ContainsFunc(value, func(v any) bool { return !isKind(v, "string") })
	case map[string]any:
		return kind == "object" || kind == "any" || kind == "record" &&
			!slices.ContainsFunc(slices.Collect(maps.Values(value)), func(v any) bool { return !isKind(v, "string") })
	}
	return false
}

type fields = map[string]any

// TestShape makes sure that the table is red where it has to be.
func TestShape(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		value any
		kind  string
		want  bool
	}{
		{"x", "string", true}, {"x", "time", false}, {"2026-11-25T10:00:00.123Z", "time", true}, {nil, "string", false},
		{true, "string", false}, {1.0, "number", true}, {"1", "number", false}, {[]any{"a"}, "strings", true},
		{[]any{1.0}, "strings", false}, {[]any{}, "object", false}, {fields{}, "object", true},
		{fields{"a": "b"}, "record", true}, {fields{"a": 1.0}, "record", false}, {false, "any", true},
	} {
		if got := isKind(test.value, test.kind); got != test.want {
			t.Errorf("isKind(%v, %s) = %v, want %v", test.value, test.kind, got, test.want)
		}
	}
}

// TestInvectCredentials plays the pages that list, create, edit, test and delete.
func TestInvectCredentials(t *testing.T) {
	t.Parallel()
	d := startDaemon(t)
	p := openInvect(t, d)
	if list := p.list("/credentials", listedShape); len(list) != 0 {
		t.Errorf("the list has %d credentials, want none", len(list))
	}

	// CreateCredentialModal, once for each kind it offers, then InlineCredentialSetup.
	for _, input := range []fields{
		{"name": "Acme API", "type": "http-api", "authType": "bearer", "config": fields{"token": "bearer-1", "apiUrl": "https://api.acme.example/v1"}, "description": ""},
		{"name": "Key", "type": "http-api", "authType": "apiKey", "config": fields{"apiKey": "key-1", "location": "header", "paramName": ""}, "description": "In a header"},
		{"name": "Login", "type": "http-api", "authType": "basic", "config": fields{"username": "ada", "password": "password-1"}, "description": ""},
		{"name": "Own client", "type": "http-api", "authType": "oauth2", "config": fields{"clientId": "client.1", "clientSecret": "client-secret-1"}, "description": ""},
		{"name": "Headers", "type": "http-api", "authType": "custom", "config": fields{"headers": fields{"X-Team": "team-1", "": ""}}, "description": ""},
		{"name": "Signed", "type": "http-api", "authType": "awsSigV4", "config": fields{}, "description": ""},
		{"name": "Token maker", "type": "http-api", "authType": "jwt", "config": fields{}, "description": ""},
		{"name": "Database", "type": "database", "authType": "connectionString", "config": fields{"connectionString": "postgres://u:p@db/x"}, "description": ""},
		{"name": "Model", "type": "llm", "authType": "apiKey", "config": fields{"apiKey": "sk-1"}, "description": "", "metadata": fields{"provider": "anthropic"}},
		{"name": "OpenRouter", "type": "llm", "authType": "apiKey", "config": fields{"apiKey": "sk-2", "baseUrl": "https://openrouter.ai/api/v1"}, "metadata": fields{"provider": "openrouter"}},
	} {
		made := p.do("POST", "/credentials", input, credentialShape)
		for _, name := range []string{"name", "type", "authType"} {
			if made[name] != input[name] {
				t.Errorf("%s was created with %s %v, want %v", input["name"], name, made[name], input[name])
			}
		}
		if metadata, given := input["metadata"]; given && !reflect.DeepEqual(made["metadata"], metadata) {
			t.Errorf("%s was created with metadata %v, want %v", input["name"], made["metadata"], metadata)
		}
		// The "Test" button, on each.
		p.do("POST", "/credentials/"+made["id"].(string)+"/test", nil, testShape)
	}
	if list := p.list("/credentials", listedShape); len(list) != 10 || list[0]["name"] != "OpenRouter" || list[9]["name"] != "Acme API" {
		t.Errorf("the list is %v, want ten, the newest first", list)
	}
	for query, want := range map[string]int{
		"?type=llm": 2, "?type=llm&authType=apiKey&isActive=true&includeShared=true": 2, "?authType=apiKey": 3,
		"?isActive=false": 0, "?includeShared=true": 10,
	} {
		if list := p.list("/credentials"+query, listedShape); len(list) != want {
			t.Errorf("the list of %s has %d credentials, want %d", query, len(list), want)
		}
	}

	for _, path := range []string{"/credentials/nobody", "/credentials/nobody/usage"} {
		p.fails("GET", path, nil, http.StatusNotFound, "not_found")
	}
	p.fails("DELETE", "/credentials/nobody", nil, http.StatusNotFound, "not_found")
	p.fails("POST", "/credentials", fields{"name": "x", "type": "http-api", "authType": "bearer", "config": fields{}, "description": ""}, http.StatusBadRequest, "invalid_request")
}

// TestInvectEdits plays CredentialDetailDialog and EditCredentialModal: they put
// all fields, as the list has them, with what was typed.
func TestInvectEdits(t *testing.T) {
	t.Parallel()
	d := startDaemon(t)
	p := openInvect(t, d)
	p.do("POST", "/credentials", fields{"name": "Acme API", "type": "http-api", "authType": "bearer", "config": fields{"token": "bearer-1", "apiUrl": "https://api.acme.example"}, "description": ""}, credentialShape)
	listed := p.list("/credentials", listedShape)[0]
	path := "/credentials/" + listed["id"].(string)
	form := func(config fields, changes fields) fields {
		all := fields{"config": config, "metadata": listed["metadata"]}
		for _, name := range []string{"name", "type", "authType", "description", "isActive"} {
			all[name] = listed[name]
		}
		maps.Copy(all, changes)
		return all
	}
	if form(nil, nil)["description"] != nil {
		t.Fatalf("the list has description %v, want null, which the dialog sends back", listed["description"])
	}

	shown := p.do("GET", path, nil, credentialShape)
	if config := shown["config"].(fields); config["token"] != broker.Mask || config["apiUrl"] != "https://api.acme.example" {
		t.Errorf("the dialog shows config %v, want the token masked", config)
	}
	// Nothing was typed, or typed and taken back: "leave empty to keep".
	for _, config := range []fields{{}, {"token": ""}, {"token": broker.Mask}, shown["config"].(fields)} {
		p.do("PUT", path, form(config, nil), credentialShape)
		d.wantToken(listed["id"].(string), "bearer-1", "", 1, 0)
	}
	changed := p.do("PUT", path, form(fields{"token": "bearer-2"}, fields{"name": "Acme", "description": "For orders"}), credentialShape)
	if changed["name"] != "Acme" || changed["description"] != "For orders" || changed["config"].(fields)["apiUrl"] != "https://api.acme.example" {
		t.Errorf("PUT answers %v, want the new name and description, and the URL kept", changed)
	}
	d.wantToken("Acme", "bearer-2", "", 2, 0)

	off := p.do("PUT", path, form(fields{}, fields{"isActive": false}), credentialShape)
	if off["isActive"] != false || len(p.list("/credentials?isActive=false", listedShape)) != 1 {
		t.Errorf("PUT answers isActive %v, want false, and to be listed so", off["isActive"])
	}
	p.do("PUT", path, form(fields{}, fields{"isActive": true}), credentialShape)

	if usage := p.do("GET", path+"/usage", nil, usageShape); usage["lastUsedAt"] == nil {
		t.Errorf("usage = %v, want the time of the reads above", usage)
	}
	status, body := p.request("DELETE", path, nil)
	if status != http.StatusNoContent || len(body) > 0 {
		t.Errorf("DELETE is answered %d %q, want 204 without a body", status, body)
	}
	p.fails("GET", path, nil, http.StatusNotFound, "not_found")
}

// TestInvectTestRequest plays the "Test" button of CreateCredentialModal.
func TestInvectTestRequest(t *testing.T) {
	t.Parallel()
	p := openInvect(t, startDaemon(t))
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		if r.Header.Get("Authorization") != "Bearer typed-1" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		fmt.Fprintf(w, `{"method": %q, "body": %q}`, r.Method, body)
	}))
	t.Cleanup(api.Close)

	authorized := fields{"Authorization": "Bearer typed-1"}
	got := p.do("POST", "/credentials/test-request", fields{"url": api.URL + "/me", "method": "GET", "headers": authorized}, responseShape)
	if got["ok"] != true || got["status"] != 200.0 || got["statusText"] != "OK" || got["body"].(fields)["method"] != "GET" {
		t.Errorf("test-request = %v, want 200 OK", got)
	}
	got = p.do("POST", "/credentials/test-request", fields{
		"url": api.URL, "method": "POST", "headers": fields{"Authorization": "Bearer typed-1", "Content-Type": "application/json"}, "body": `{"a":1}`,
	}, responseShape)
	if got["ok"] != true || got["body"].(fields)["body"] != `{"a":1}` {
		t.Errorf("test-request = %v, want the body that was typed", got)
	}
	got = p.do("POST", "/credentials/test-request", fields{"url": api.URL, "method": "GET", "headers": fields{}}, responseShape)
	if got["ok"] != false || got["status"] != 401.0 || got["statusText"] != "Unauthorized" {
		t.Errorf("test-request = %v, want 401 Unauthorized", got)
	}
	p.fails("POST", "/credentials/test-request", fields{"url": "http://169.254.169.254/latest/meta-data", "method": "GET", "headers": fields{}}, http.StatusBadRequest, "invalid_request")
}

// TestInvectProviders plays OAuth2ProviderSelector.
func TestInvectProviders(t *testing.T) {
	t.Parallel()
	p := openInvect(t, startDaemon(t))
	list := p.list("/credentials/oauth2/providers", providerShape)
	if len(list) < 7 {
		t.Errorf("there are %d providers, want the seven at least", len(list))
	}
	for _, provider := range list {
		path := "/credentials/oauth2/providers/" + provider["id"].(string)
		if one := p.do("GET", path, nil, providerShape); !reflect.DeepEqual(one, provider) {
			t.Errorf("GET %s = %v, want it as in the list, %v", path, one, provider)
		}
	}
	p.fails("GET", "/credentials/oauth2/providers/nobody", nil, http.StatusNotFound, "unknown_provider")
}

// TestInvectConnects plays OAuth2ConnectButton, the reconnecting dialog and the
// hook use-oauth2-refresh.
func TestInvectConnects(t *testing.T) {
	t.Parallel()
	v := startVendor(t, "linear")
	p := openInvect(t, v.d)
	token := "POST api.linear.app/oauth/token"
	codeForm := func(code string) map[string]string {
		return with(v.codeForm(code), "redirect_uri", invectRedirect)
	}
	start := func(body fields) (state string) {
		t.Helper()
		body["redirectUri"], body["returnUrl"] = invectRedirect, invectOrigin+invectMount+"/credentials"
		started := p.do("POST", "/credentials/oauth2/start", body, startedShape)
		u, err := url.Parse(started["authorizationUrl"].(string))
		if err != nil || u.Query().Get("state") != started["state"] || u.Query().Get("redirect_uri") != invectRedirect {
			t.Errorf("start = %v, want a URL with its state and the front end's page", started)
		}
		v.mu.Lock()
		v.challenge = u.Query().Get("code_challenge")
		v.mu.Unlock()
		return started["state"].(string)
	}

	// The button, with the client that was typed and a name that was not.
	app := fields{"clientId": vendorClientID, "clientSecret": vendorClientSecret}
	state := start(fields{"providerId": "linear", "clientId": vendorClientID, "clientSecret": vendorClientSecret, "credentialName": ""})
	v.expect(call{request: token, form: codeForm("invect-code-1"), answer: linearTokens("1")})
	body := fields{"code": "invect-code-1", "state": state, "redirectUri": invectRedirect}
	maps.Copy(body, app)
	made := p.do("POST", "/credentials/oauth2/callback", body, credentialShape)
	config, metadata := made["config"].(fields), made["metadata"].(fields)
	if made["name"] != "Linear" || made["type"] != "http-api" || made["authType"] != "oauth2" || made["isActive"] != true {
		t.Errorf("callback = %v, want an active OAuth2 credential called Linear", made)
	}
	shown := fields{"oauth2Provider": "linear", "clientId": vendorClientID, "clientSecret": broker.Mask, "accessToken": broker.Mask, "refreshToken": broker.Mask}
	for name, want := range shown {
		if config[name] != want {
			t.Errorf("callback: config.%s = %v, want %v", name, config[name], want)
		}
	}
	if metadata["oauth2Provider"] != "linear" { // all that an action's field sees, in the list
		t.Errorf("callback: metadata = %v, want the provider", metadata)
	}
	id := made["id"].(string)

	// Editing it from the list loses nothing.
	listed := p.list("/credentials?authType=oauth2", listedShape)[0]
	p.do("PUT", "/credentials/"+id, fields{
		"name": "Issues", "type": listed["type"], "authType": listed["authType"], "description": listed["description"],
		"isActive": true, "config": fields{}, "metadata": listed["metadata"],
	}, credentialShape)
	v.d.wantToken("Issues", "linear-access-1", "read write", 1, 86399*time.Second)

	v.expect(call{request: token, form: refreshForm("linear-refresh-1"), answer: linearTokens("2")})
	p.do("POST", "/credentials/"+id+"/refresh", nil, credentialShape)

	// The hook asks whether the token works. Where it does not, it reconnects,
	// with the scopes that an action needs.
	v.expect(call{
		request: "POST api.linear.app/graphql", bearer: "linear-access-2", json: map[string]string{"query": "{ viewer { id name email } }"},
		status: 401, answer: `{"errors": [{"message": "Authentication required, not authenticated"}]}`,
	})
	if test := p.do("POST", "/credentials/"+id+"/test", nil, testShape); test["success"] != false || test["error"] == nil {
		t.Errorf("test = %v, want a failure with its reason", test)
	}
	state = start(fields{"existingCredentialId": id, "scopes": []string{"read", "admin"}})
	v.expect(call{request: token, form: codeForm("invect-code-2"), answer: linearTokens("3")})
	again := p.do("POST", "/credentials/oauth2/callback", fields{"code": "invect-code-2", "state": state, "redirectUri": invectRedirect}, credentialShape)
	if again["id"] != id || again["name"] != "Issues" {
		t.Errorf("callback = %v, want credential %s under its name", again, id)
	}

	// A credential without a token: the dialog offers to connect it only if it
	// sees the provider and the client, and no access token.
	pending := p.do("POST", "/credentials", fields{
		"name": "Later", "type": "http-api", "authType": "oauth2", "description": "",
		"config": fields{"oauth2Provider": "linear", "clientId": vendorClientID, "clientSecret": vendorClientSecret},
	}, credentialShape)
	config = p.do("GET", "/credentials/"+pending["id"].(string), nil, credentialShape)["config"].(fields)
	if config["oauth2Provider"] != "linear" || config["clientId"] != vendorClientID || config["accessToken"] != nil {
		t.Errorf("the dialog sees config %v, want the provider and the client alone", config)
	}
	state = start(fields{"existingCredentialId": pending["id"]})
	v.expect(call{request: token, form: codeForm("invect-code-3"), answer: linearTokens("4")})
	p.do("POST", "/credentials/oauth2/callback", fields{"code": "invect-code-3", "state": state, "redirectUri": invectRedirect}, credentialShape)
	v.d.wantToken("Later", "linear-access-4", "read write", 1, 86399*time.Second)

	p.fails("POST", "/credentials/oauth2/start", fields{"providerId": "nobody", "clientId": "c", "clientSecret": "s", "redirectUri": invectRedirect}, http.StatusNotFound, "unknown_provider")
	p.fails("POST", "/credentials/oauth2/callback", fields{"code": "c", "state": "unknown", "redirectUri": invectRedirect}, http.StatusBadRequest, "invalid_state")
}

// TestInvectTwoListeners has the node panel open, where the hook and the button
// both hear of the code and both hand it on, the hook without the client. The
// first wins and the code is traded once. The second is told that the state was
// used: if that is the button, it says that the connection failed, though the
// credential is there.
func TestInvectTwoListeners(t *testing.T) {
	t.Parallel()
	v := startVendor(t, "linear")
	p := openInvect(t, v.d)
	state := v.authorize(client.StartRequest{ProviderID: "linear"}, "linear.app/oauth/authorize", with(challenged, "scope", "read,write,issues:create,comments:create"))
	v.expect(call{request: "POST api.linear.app/oauth/token", form: v.codeForm("invect-code-4"), answer: linearTokens("1")})
	statuses := make([]int, 2)
	answers := make([][]byte, 2)
	var both sync.WaitGroup
	for i, body := range []fields{
		{"code": "invect-code-4", "state": state},
		{"code": "invect-code-4", "state": state, "clientId": vendorClientID, "clientSecret": vendorClientSecret, "redirectUri": v.d.callback()},
	} {
		both.Go(func() { statuses[i], answers[i] = p.request("POST", "/credentials/oauth2/callback", body) })
	}
	both.Wait()
	loser := 0
	if statuses[0] == http.StatusOK {
		loser = 1
	}
	if statuses[loser] != http.StatusBadRequest || statuses[1-loser] != http.StatusOK || !bytes.Contains(answers[loser], []byte(`"invalid_state"`)) {
		t.Errorf("the callbacks are answered %d %s and %d %s, want 200 and 400 invalid_state", statuses[0], answers[0], statuses[1], answers[1])
	}
	if list := p.list("/credentials", listedShape); len(list) != 1 {
		t.Errorf("there are %d credentials, want 1", len(list))
	}
}

// TestInvectWithoutBridge is what a page hears that reaches the socket through
// something that hands on what browsers add.
func TestInvectWithoutBridge(t *testing.T) {
	t.Parallel()
	d := startDaemon(t)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", d.socket)
	}}
	defer transport.CloseIdleConnections()
	for _, name := range []string{"Origin", "Referer"} {
		request, err := http.NewRequestWithContext(t.Context(), "GET", "http://localhost/credentials", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set(name, invectOrigin)
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusForbidden {
			t.Errorf("a request with %s is answered %d, want 403", name, response.StatusCode)
		}
	}
}

// TestInvectGuide runs the examples of Invect's documents as they stand, with
// curl, at the socket in place of http://localhost:3000 and its mount. It is not
// parallel: a child that is about to become curl still has the lock of a store
// that another test is opening, and Badger takes it for a second daemon.
func TestInvectGuide(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("there is no curl here")
	}
	d := startDaemon(t)
	curl := func(want string, arguments ...string) (answer map[string]any, all []byte) {
		t.Helper()
		command := exec.CommandContext(t.Context(), "curl", append([]string{"-sS", "--unix-socket", d.socket, "-w", "\n%{http_code}"}, arguments...)...)
		out, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("%v = %v: %s", command, err, out)
		}
		end := bytes.LastIndexByte(out, '\n')
		body, status := out[:end], string(out[end+1:])
		if status != want {
			t.Errorf("curl %q is answered %s %s, want %s", arguments, status, body, want)
		}
		_ = json.Unmarshal(body, &answer) // where it is an object
		return answer, body
	}
	const typed = "Content-Type: application/json"

	// docs/content/docs/credentials.mdx at 1c28f79, with the type that it has.
	made, _ := curl("201", "-X", "POST", "http://localhost/credentials", "-H", typed,
		"-d", `{"name":"My OpenAI Key","type":"api_key","config":{"apiKey":"sk-..."}}`)
	if made["type"] != "api_key" || made["authType"] != "apiKey" {
		t.Errorf("created %v, want type api_key and authType apiKey", made)
	}
	// docs/content/docs/how-to/credentials/manage-api-keys.mdx at ee8bc1e.
	made, _ = curl("201", "-X", "POST", "http://localhost/credentials", "-H", typed,
		"-d", `{"name":"OpenAI","type":"llm","provider":"openai","authType":"apiKey","config":{"apiKey":"sk-..."},"description":"OpenAI GPT models","isShared":true}`)
	if made["provider"] != "openai" || made["isShared"] != true {
		t.Errorf("created %v, want provider openai, shared", made)
	}
	// docs/content/docs/credentials/api-keys.mdx before f294924.
	curl("201", "-X", "POST", "http://localhost/credentials", "-H", typed,
		"-d", `{"name":"Stripe","type":"http-api","authType":"apiKey","config":{"apiKey":"sk_live_..."},"isShared":true}`)

	// pkg/core/src/services/credentials/README.md at ce7d78ff.
	const user = "X-User-ID: user_123"
	made, _ = curl("201", "-X", "POST", "http://localhost/credentials", "-H", typed, "-H", user,
		"-d", `{"name":"My GitHub Token","provider":"github","authType":"bearer","config":{"token":"ghp_xxxxx"},"description":"Personal access token for GitHub API"}`)
	id, _ := made["id"].(string)
	_, body := curl("200", "http://localhost/credentials?provider=github", "-H", user)
	var list []fields
	if err := json.Unmarshal(body, &list); err != nil || len(list) != 1 || list[0]["id"] != id {
		t.Errorf("the list of provider github is %s, want %s alone", body, id)
	}
	curl("200", "http://localhost/credentials/"+id, "-H", user)
	if made, _ = curl("200", "-X", "PATCH", "http://localhost/credentials/"+id, "-H", typed, "-H", user, "-d", `{"isActive": false}`); made["isActive"] != false {
		t.Errorf("PATCH answers %v, want isActive false", made)
	}
	made, _ = curl("200", "-X", "POST", "http://localhost/credentials/"+id+"/test", "-H", user)
	testShape.check(t, "test", made)
	if _, body := curl("204", "-X", "DELETE", "http://localhost/credentials/"+id, "-H", user); len(body) > 0 {
		t.Errorf("DELETE is answered %q, want no body", body)
	}

	// The provider of CLAUDE.md at ce7d78ff, which has it in TypeScript.
	const custom = `{"id": "my_service", "name": "My Service", "description": "Access My Service API", "icon": "Cloud",
		"authorizationUrl": "https://myservice.com/oauth/authorize", "tokenUrl": "https://myservice.com/oauth/token",
		"defaultScopes": ["read", "write"], "additionalAuthParams": {}, "supportsRefresh": true,
		"docsUrl": "https://myservice.com/docs/oauth", "category": "other"}`
	curl("201", "-X", "POST", "http://localhost/credentials/oauth2/providers", "-H", typed, "-d", custom)
	made, _ = curl("200", "http://localhost/credentials/oauth2/providers/my_service")
	providerShape.check(t, "my_service", made)
	made, _ = curl("200", "-X", "POST", "http://localhost/credentials/oauth2/start", "-H", typed,
		"-d", `{"providerId":"my_service","clientId":"your-client-id","clientSecret":"your-client-secret","redirectUri":"http://localhost:3000/invect/credentials/oauth2/callback"}`)
	startedShape.check(t, "start", made)
}
