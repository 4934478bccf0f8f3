package catalog

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/oauth"
)

// The client and the flow of the wire test. What is in HTTP Basic is encoded as
// a form first (RFC 6749, section 2.3.1), so the secret has something to encode.
const (
	wireClientID = "client-1"
	wireSecret   = "s+cret/1"
	wireRedirect = "https://front.example/callback"
	wireVerifier = "verifier-verifier-verifier-verifier-verifier"
)

// TestWire plays each definition through: a person is sent away, a code traded, a
// token refreshed, tried and revoked, over TLS with a server that is all its
// hosts. What is sent has to be what the definition promises, no more and no
// less. The promise is read from the JSON that is embedded, by other words than
// those of the code under test.
func TestWire(t *testing.T) {
	definitions, err := Definitions()
	if err != nil {
		t.Fatal(err)
	}
	var promises []map[string]any
	if err := json.Unmarshal(data, &promises); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	client := w.client(t)
	for i, d := range definitions {
		t.Run(d.ID, func(t *testing.T) {
			p := &play{T: t, world: w, client: client, promise: promises[i], inputs: samples(t, d)}
			p.k = broker.Connection{
				Definition: d, Inputs: maps.Clone(p.inputs),
				Client: broker.Client{ID: wireClientID, Secret: broker.NewSecret(wireSecret)},
			}
			if d.ClientAuthentication == broker.PrivateKeyJWT {
				p.k.Client.PrivateKey = broker.NewSecret(newPrivateKey(t))
			}
			p.authorize()
			p.exchange()
			p.refresh()
			p.refuse()
			p.identify()
			p.revoke()
		})
	}
}

// samples returns a value for each input, as a person might give it.
func samples(t *testing.T, d broker.Definition) map[string]string {
	candidates := []string{"acme", "acme.example.com", "acme.my.salesforce.com", "acme.my.workfront.com", "www.amazon.co", "0a1b2c3d-0000-4000-8000-0123456789ab"}
	out := map[string]string{}
	for name, input := range d.Inputs {
		value := input.Default
		if value == "" && len(input.Enum) > 0 {
			value = input.Enum[0]
		}
		for _, candidate := range candidates {
			if value == "" && regexp.MustCompile(`\A(?:`+cmp.Or(input.Pattern, ".*")+`)\z`).MatchString(candidate) {
				value = candidate
			}
		}
		if value == "" {
			t.Fatalf("no sample matches %s of input %s", input.Pattern, name)
		}
		out[name] = value
	}
	return out
}

// A play is one definition being played through.
type play struct {
	*testing.T
	world   *world
	client  *oauth.Client
	promise map[string]any
	inputs  map[string]string
	k       broker.Connection
}

func (p *play) text(path string) string { text, _ := p.at(path).(string); return text }

// at returns what the definition says at a path, nil for nothing.
func (p *play) at(path string) any {
	var value any = p.promise
	for step := range strings.SplitSeq(path, ".") {
		object, _ := value.(map[string]any)
		value = object[step]
	}
	return value
}

// object returns a map of the definition, its templates filled in; null is kept.
func (p *play) object(path string) map[string]any {
	object, _ := p.at(path).(map[string]any)
	out := map[string]any{}
	for name, value := range object {
		if text, ok := value.(string); ok {
			value = p.fill(text)
		}
		out[name] = value
	}
	return out
}

func (p *play) fill(template string) string {
	template = strings.ReplaceAll(template, "{client_id}", wireClientID)
	for name, value := range p.inputs {
		template = strings.ReplaceAll(template, "{"+name+"}", value)
	}
	return template
}

func (p *play) strings(path string) (out []string) {
	list, _ := p.at(path).([]any)
	for _, item := range list {
		out = append(out, item.(string))
	}
	return out
}

func (p *play) hasPKCE() bool { return p.text("pkce") != "none" }

func (p *play) verifier() broker.Secret {
	if !p.hasPKCE() {
		return broker.Secret{}
	}
	return broker.NewSecret(wireVerifier)
}

// authorize looks at the URL that a person is sent to.
func (p *play) authorize() {
	p.Helper()
	scopes := p.k.Definition.Scopes([]string{"one", "two"})
	got, err := p.client.AuthorizationURL(p.Context(), p.k, broker.AuthorizationRequest{
		RedirectURI: wireRedirect, State: "state-1", Scopes: scopes, Verifier: p.verifier(),
	})
	if err != nil {
		p.Fatalf("AuthorizationURL() = %v", err)
	}
	base, query, _ := strings.Cut(got, "?")
	wantBase, wantQuery, _ := strings.Cut(p.fill(p.text("authorizationUrl")), "?")
	if base != wantBase {
		p.Errorf("AuthorizationURL() leads to %s, want %s", base, wantBase)
	}
	want, _ := url.ParseQuery(wantQuery)
	for name, value := range p.object("additionalAuthParams") {
		want.Set(name, value.(string))
	}
	set := func(name, value string) {
		if to := p.text("authorizationRequest.rename." + name); to != "" {
			name = to
		}
		want.Set(name, value)
	}
	if kind := cmp.Or(p.text("authorizationRequest.responseType"), "code"); kind != "none" {
		set("response_type", kind)
	}
	set("client_id", wireClientID)
	set("redirect_uri", wireRedirect)
	set("state", "state-1")
	asked := []string{"one", "two"}
	for _, scope := range p.strings("requiredScopes") {
		if !slices.Contains(asked, scope) {
			asked = append(asked, scope)
		}
	}
	set("scope", strings.Join(asked, cmp.Or(p.text("scopeSeparator"), " ")))
	if p.hasPKCE() {
		sum := sha256.Sum256([]byte(wireVerifier))
		want.Set("code_challenge", base64.RawURLEncoding.EncodeToString(sum[:]))
		want.Set("code_challenge_method", "S256")
	}
	has, err := url.ParseQuery(query)
	if err != nil {
		p.Fatalf("AuthorizationURL() has the query %s: %v", query, err)
	}
	for name := range want {
		if want.Get(name) == "{random}" && len(has.Get(name)) >= 16 {
			want.Set(name, has.Get(name))
		}
	}
	if !reflect.DeepEqual(has, want) {
		p.Errorf("AuthorizationURL() has\n%v\nwant\n%v", has, want)
	}
}

// A step is a request that is promised.
type step struct {
	field  string // tokenRequest or what changes it
	url    string
	params map[string]string
	auth   string // "" is the definition's
}

// want returns the request as the fields of the definition promise it.
func (p *play) want(s step) sent {
	overlay := func(name string) map[string]any {
		out := map[string]any{}
		if s.field != "revocationRequest" || name != "params" {
			out = p.object("tokenRequest." + name)
		}
		if s.field != "tokenRequest" {
			maps.Copy(out, p.object(s.field+"."+name))
		}
		return out
	}
	either := func(name, otherwise string) string {
		return cmp.Or(p.text(s.field+"."+name), p.text("tokenRequest."+name), otherwise)
	}
	out := sent{method: either("method", "POST"), params: map[string]string{}}
	params := map[string]any{}
	for name, value := range s.params {
		params[name] = value
	}
	switch auth := cmp.Or(s.auth, p.text("clientAuthentication"), "client_secret_post"); auth {
	case "client_secret_basic":
		out.authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(wireClientID+":s%2Bcret%2F1"))
	case "client_secret_post":
		params["client_id"], params["client_secret"] = wireClientID, wireSecret
	case "private_key_jwt":
		params["client_id"], params["client_assertion"] = wireClientID, "{random}"
		params["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	case "none":
		params["client_id"] = wireClientID
	}
	maps.Copy(params, overlay("params"))
	rename := overlay("rename")
	for name, value := range params {
		if text, ok := value.(string); ok && text != "" {
			if to, ok := rename[name].(string); ok {
				name = to
			}
			out.params[name] = text
		}
	}
	target, query, _ := strings.Cut(p.fill(s.url), "?")
	if own, _ := url.ParseQuery(query); len(own) > 0 {
		for name := range own {
			out.params[name] = own.Get(name)
		}
	}
	out.url = target
	out.contentType = map[string]string{"json": "application/json", "form": "application/x-www-form-urlencoded"}[either("format", "form")]
	out.header = map[string][]string{}
	for name, value := range overlay("headers") {
		out.header[name] = []string{value.(string)}
	}
	return out
}

// compare fails where what came is not what was promised.
func (p *play) compare(what string, want ...sent) {
	p.Helper()
	got := p.world.requests()
	if len(got) != len(want) {
		p.Fatalf("%s made %d requests, want %d: %+v", what, len(got), len(want), got)
	}
	for i, g := range got {
		w := want[i]
		for name, values := range w.header {
			if g.header.Get(name) != values[0] {
				p.Errorf("%s sends %s: %q, want %q", what, name, g.header.Get(name), values[0])
			}
		}
		for name, value := range w.params {
			if value == "{random}" && len(g.params[name]) >= 16 {
				w.params[name] = g.params[name]
			}
		}
		g.header, w.header = nil, nil
		if !reflect.DeepEqual(g, w) {
			p.Errorf("%s sends\n%+v\nwant\n%+v", what, g, w)
		}
	}
}

// reply returns a token answer in the shape that the definition declares.
func (p *play) reply(access, refresh string) any {
	answer := map[string]any{}
	for name, path := range p.object("tokenResponse.capture") {
		put(answer, path.(string), "kept-"+name)
	}
	put(answer, p.path("expiresIn", "expires_in"), 1200)
	put(answer, p.path("scope", "scope"), "one"+cmp.Or(p.text("scopeSeparator"), " ")+"two")
	put(answer, p.path("refreshToken", "refresh_token"), refresh)
	put(answer, p.path("accessToken", "access_token"), access)
	if at := p.at("tokenResponse.expiresAt"); at != nil {
		put(answer, p.path("expiresIn", "expires_in"), nil)
		put(answer, p.path("expiresAt", ""), time.Now().Add(20*time.Minute).UTC().Format(time.RFC3339))
	}
	if check := p.text("tokenResponse.success.path"); check != "" {
		put(answer, check, p.at("tokenResponse.success.equals"))
	}
	return answer
}

// path returns the first path of a field of the answer.
func (p *play) path(field, standard string) string {
	if list := p.strings("tokenResponse." + field); len(list) > 0 {
		return list[0]
	}
	return cmp.Or(p.text("tokenResponse."+field), standard)
}

// put sets what lies at a path. A step that is a number makes a list of one.
func put(object map[string]any, path string, value any) {
	first, rest, more := strings.Cut(path, ".")
	if !more {
		object[first] = value
		return
	}
	if index, after, _ := strings.Cut(rest, "."); index == "0" {
		list, _ := object[first].([]any)
		if len(list) == 0 {
			list = []any{map[string]any{}}
		}
		object[first] = list
		put(list[0].(map[string]any), after, value)
		return
	}
	inner, _ := object[first].(map[string]any)
	if inner == nil {
		inner = map[string]any{}
	}
	object[first] = inner
	put(inner, rest, value)
}

// read looks at a token that was read from an answer.
func (p *play) read(what string, got broker.TokenResponse, err error, access, refresh string) {
	p.Helper()
	if err != nil {
		p.Fatalf("%s = %v", what, err)
	}
	if p.path("refreshToken", "") == p.path("accessToken", "access_token") {
		refresh = access // it is renewed by itself
	}
	life := time.Until(got.ExpiresAt).Round(time.Minute)
	if got.AccessToken.Reveal() != access || got.RefreshToken.Reveal() != refresh || got.Scope != "one two" || life != 20*time.Minute {
		p.Errorf("%s = %q, %q, scope %q for %v, want %q, %q, one two for 20m", what, got.AccessToken.Reveal(), got.RefreshToken.Reveal(), got.Scope, life, access, refresh)
	}
	for name := range p.object("tokenResponse.capture") {
		if got.Captured[name] != "kept-"+name {
			p.Errorf("%s captures %v as %s, want %s", what, got.Captured[name], name, "kept-"+name)
		}
	}
}

func (p *play) exchange() {
	p.Helper()
	params := map[string]string{"grant_type": "authorization_code", "code": "code-1", "redirect_uri": wireRedirect}
	if p.hasPKCE() {
		params["code_verifier"] = wireVerifier
	}
	want := []sent{p.want(step{field: "tokenRequest", url: p.text("tokenUrl"), params: params})}
	answers, access := []any{p.reply("access-1", "refresh-1")}, "access-1"
	if target := p.text("longLivedRequest.url"); target != "" {
		want = append(want, p.want(step{field: "longLivedRequest", url: target, params: map[string]string{"grant_type": "exchange_token", "access_token": access}}))
		answers, access = append(answers, p.reply("long-1", "refresh-1")), "long-1"
	}
	if target := p.text("lookup.url"); target != "" {
		want = append(want, p.asks("lookup", access))
		answers = append(answers, p.lookedUp())
	}
	p.world.answer(answers...)
	got, err := p.client.Exchange(p.Context(), p.k, broker.CodeExchange{
		Code: broker.NewSecret("code-1"), RedirectURI: wireRedirect, Verifier: p.verifier(),
	})
	p.read("Exchange()", got, err, access, "refresh-1")
	p.compare("Exchange()", want...)
	for name, value := range p.object("lookup.capture") {
		if got.Captured[name] != fmt.Sprint("at-", value) {
			p.Errorf("Exchange() captures %v as %s, want at-%v", got.Captured[name], name, value)
		}
	}
	for name, value := range got.Captured {
		if text, ok := value.(string); ok && p.k.Definition.Captures(name) {
			p.k.Inputs[name] = text
		}
	}
}

// lookedUp is an answer with something at each path of the lookup.
func (p *play) lookedUp() any {
	whole := map[string]any{}
	for _, path := range p.object("lookup.capture") {
		put(whole, "."+path.(string), fmt.Sprint("at-", path))
	}
	return whole[""]
}

// asks is a request with a token: identity or lookup.
func (p *play) asks(field, access string) sent {
	target, query, _ := strings.Cut(p.fill(p.text(field+".url")), "?")
	out := sent{method: cmp.Or(p.text(field+".method"), "GET"), url: target, authorization: "Bearer " + access, header: map[string][]string{}, params: map[string]string{}}
	own, _ := url.ParseQuery(query)
	for name := range own {
		out.params[name] = own.Get(name)
	}
	for name, value := range p.object(field + ".headers") {
		value = strings.ReplaceAll(value.(string), "{access_token}", access)
		out.header[name] = []string{value.(string)}
		if name == "Authorization" {
			out.authorization = value.(string)
		}
	}
	if body := p.text(field + ".body"); body != "" {
		out.contentType = "application/json"
		if err := json.Unmarshal([]byte(body), &out.params); err != nil {
			p.Fatal(err)
		}
	}
	return out
}

func (p *play) refresh() {
	p.Helper()
	if refreshes, said := p.at("supportsRefresh").(bool); said && !refreshes {
		return
	}
	p.world.answer(p.reply("access-2", "refresh-2"))
	got, err := p.client.Refresh(p.Context(), p.k, broker.NewSecret("refresh-1"))
	p.read("Refresh()", got, err, "access-2", "refresh-2")
	p.compare("Refresh()", p.want(step{
		field: "refreshRequest", url: cmp.Or(p.text("refreshRequest.url"), p.text("tokenUrl")),
		params: map[string]string{"grant_type": "refresh_token", "refresh_token": "refresh-1"},
	}))
}

// refuse answers an error where the definition says that errors are, with HTTP
// 200, which many vendors do and no client may take for a success.
func (p *play) refuse() {
	p.Helper()
	answer := map[string]any{}
	put(answer, p.path("errorCode", "error"), "invalid_grant")
	if check := p.text("tokenResponse.success.path"); check != "" {
		put(answer, check, "no")
	}
	p.world.answer(answer)
	_, err := p.client.Refresh(p.Context(), p.k, broker.NewSecret("refresh-1"))
	if refused, ok := errors.AsType[*broker.ProviderError](err); !ok || refused.Code != "invalid_grant" {
		p.Errorf("Refresh() = %v, want a refusal with invalid_grant", err)
	}
}

func (p *play) identify() {
	p.Helper()
	if p.at("identity") == nil {
		return
	}
	whole := map[string]any{}
	subject, label := p.text("identity.subject"), p.text("identity.label")
	for _, path := range []string{subject, label} {
		if path != "" {
			put(whole, "."+path, "at-"+path)
		}
	}
	answer := whole[""]
	if answer == nil {
		answer = map[string]any{}
	}
	if check := p.text("tokenResponse.success.path"); check != "" {
		put(answer.(map[string]any), check, p.at("tokenResponse.success.equals"))
	}
	p.world.answer(answer)
	got, err := p.client.Identify(p.Context(), p.k, broker.NewSecret("access-2"))
	want := broker.Identity{Subject: strings.TrimSuffix("at-"+subject, "at-"), Label: strings.TrimSuffix("at-"+label, "at-")}
	if err != nil || got != want {
		p.Errorf("Identify() = %v, %v, want %v", got, err, want)
	}
	p.compare("Identify()", p.asks("identity", "access-2"))
}

func (p *play) revoke() {
	p.Helper()
	target := p.text("revocationUrl")
	if target == "" {
		return
	}
	s := step{field: "revocationRequest", url: target, params: map[string]string{"token": "token-1", "token_type_hint": "refresh_token"}}
	s.auth = p.text("revocationRequest.clientAuthentication")
	if s.auth == "bearer" {
		s.params = nil
	}
	want := p.want(s)
	if s.auth == "bearer" {
		want.authorization = "Bearer token-1"
	}
	p.world.answer(map[string]any{})
	if err := p.client.Revoke(p.Context(), p.k, broker.NewSecret("token-1"), "refresh_token"); err != nil {
		p.Errorf("Revoke() = %v", err)
	}
	p.compare("Revoke()", want)
}
