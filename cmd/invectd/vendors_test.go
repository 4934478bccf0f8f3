package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/oauth2"

	"github.com/invectd/invectd/socket/client"
)

// The tests in vendors_*_test.go run the built-in definitions against servers
// that speak as each vendor documents it, over real HTTP. What a vendor's server
// is asked has to be what its documents say, to the letter, or it refuses. Each
// test names the documents, of which stored copies were read on the day given.

// The client that is registered with each vendor. Both are of characters that
// stand for themselves in a form too: RFC 6749, section 2.3.1, encodes them
// before they go into HTTP Basic, and not every vendor documents that.
const (
	vendorClientID     = "client.1"
	vendorClientSecret = "secret_of~the.client-1"
)

// anything stands for a value that cannot be known before.
const anything = "\x00anything"

// A call is one request as the vendor documents it, and the documented answer.
type call struct {
	request string            // method, host and path
	bearer  string            // the token in Authorization
	basic   bool              // the client in Authorization
	headers map[string]string // more headers that have to be there
	form    map[string]string // the whole body as a form
	json    map[string]string // or as a JSON object

	status int               // 200 if zero
	answer string            // JSON if it looks so, else a form
	reply  map[string]string // headers of the answer
}

// A vendor is all hosts of one vendor: https://HOST/… is http://127.0.0.1:PORT/HOST/….
type vendor struct {
	*httptest.Server
	t *testing.T
	d *testDaemon

	mu        sync.Mutex
	script    []call   // what is still to be asked, in order; guarded by mu
	challenge string   // of the last authorization URL, "" for none; guarded by mu
	secrets   []string // all tokens and codes; guarded by mu
}

// startVendor runs a daemon whose built-in definition of one provider is turned
// to a vendor's server on loopback.
func startVendor(t *testing.T, id string) *vendor {
	t.Helper()
	v := &vendor{t: t, secrets: []string{vendorClientSecret}}
	v.Server = httptest.NewServer(v)
	t.Cleanup(v.Close)
	v.d = startDaemon(t)
	t.Cleanup(v.finish)
	v.install(id)
	app := client.App{ProviderID: id, ClientID: vendorClientID, ClientSecret: vendorClientSecret}
	if _, err := v.d.PutApp(t.Context(), app); err != nil {
		t.Fatalf("PutApp(%s) = %v", id, err)
	}
	return v
}

// tokenInAnswer finds the tokens in an answer, in JSON or in a form.
var tokenInAnswer = regexp.MustCompile(`\b(?:access|refresh)_token(?:"\s*:\s*"|=)([^"&]+)`)

var secureHost = regexp.MustCompile(`https://([a-z0-9.-]+)`)

// install replaces https://HOST by where the vendor's server has that host, and
// nothing else.
func (v *vendor) install(id string) {
	v.t.Helper()
	path := "/credentials/oauth2/providers/" + id
	var builtin, changed map[string]any
	v.do("GET", path, nil, nil, &builtin)
	if builtin["source"] != "builtin" {
		v.t.Fatalf("the definition of %s is from %v, want the built-in one", id, builtin["source"])
	}
	delete(builtin, "source")
	text, err := json.Marshal(builtin)
	if err != nil {
		v.t.Fatal(err)
	}
	var moved map[string]any
	if err := json.Unmarshal(secureHost.ReplaceAll(text, []byte(v.URL+"/$1")), &moved); err != nil {
		v.t.Fatal(err)
	}
	moved["defaultScopes"] = builtin["defaultScopes"] // some are URLs, and name something
	v.do("PUT", path, url.Values{"override": {"true"}}, moved, nil)
	v.do("GET", path, nil, nil, &changed)
	if text, err = json.Marshal(changed); err != nil {
		v.t.Fatal(err)
	}
	var back map[string]any
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(text), v.URL+"/", "https://")), &back); err != nil {
		v.t.Fatal(err)
	}
	if source := back["source"]; source != "api" {
		v.t.Fatalf("the definition of %s in force is from %v, want api", id, source)
	}
	for _, ours := range []string{"source", "override"} {
		delete(back, ours)
	}
	if !reflect.DeepEqual(back, builtin) {
		v.t.Fatalf("the definition under test is\n%v\nwant the built-in one\n%v", back, builtin)
	}
}

func (v *vendor) do(method, path string, query url.Values, in, out any) {
	v.t.Helper()
	if _, err := v.d.Do(v.t.Context(), method, path, query, in, out); err != nil {
		v.t.Fatalf("%s %s = %v", method, path, err)
	}
}

// expect adds to what the vendor is going to be asked.
func (v *vendor) expect(calls ...call) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.script = append(v.script, calls...)
}

// finish looks at what was not asked, and for secrets in the daemon's log.
func (v *vendor) finish() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range v.script {
		v.t.Errorf("the vendor was not asked %s", c.request)
	}
	log := v.d.log.String()
	for _, secret := range v.secrets {
		if strings.Contains(log, secret) {
			v.t.Errorf("the daemon's log holds the secret %q:\n%s", secret, log)
		}
	}
}

// ServeHTTP answers the next call of the script, and refuses anything else.
func (v *vendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	asked := r.Method + " " + strings.TrimPrefix(r.URL.String(), "/")
	if err != nil || len(v.script) == 0 {
		v.t.Errorf("the vendor was asked %s (%v), want nothing", asked, err)
		w.WriteHeader(http.StatusTeapot)
		return
	}
	next := v.script[0]
	v.script = v.script[1:]
	if problem := v.judge(next, asked, r, body); problem != "" {
		v.t.Errorf("the vendor was asked %s: %s", asked, problem)
		w.WriteHeader(http.StatusTeapot)
		return
	}
	for _, token := range tokenInAnswer.FindAllStringSubmatch(next.answer, -1) {
		v.secrets = append(v.secrets, token[1])
	}
	for name, value := range next.reply {
		w.Header().Set(name, value)
	}
	if w.Header().Get("Content-Type") == "" {
		kind := "application/x-www-form-urlencoded; charset=utf-8"
		if strings.HasPrefix(next.answer, "{") || strings.HasPrefix(next.answer, "[") {
			kind = "application/json; charset=utf-8"
		}
		w.Header().Set("Content-Type", kind)
	}
	if next.status != 0 {
		w.WriteHeader(next.status)
	}
	io.WriteString(w, next.answer)
}

// judge says what is wrong with a request; "" for nothing.
func (v *vendor) judge(want call, asked string, r *http.Request, body []byte) string {
	if asked != want.request {
		return "want " + want.request
	}
	authorization := ""
	if want.bearer != "" {
		authorization = "Bearer " + want.bearer
	}
	if want.basic {
		authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(vendorClientID+":"+vendorClientSecret))
	}
	headers := map[string]string{"Authorization": authorization, "Accept": "application/json", "Origin": ""}
	maps.Copy(headers, want.headers)
	got, kind := map[string]string{}, ""
	switch {
	case want.form != nil:
		kind = "application/x-www-form-urlencoded"
		values, err := url.ParseQuery(string(body))
		if err != nil {
			return fmt.Sprintf("the body is no form: %q", body)
		}
		for name, value := range values {
			got[name] = strings.Join(value, "|")
		}
	case want.json != nil:
		kind = "application/json"
		if err := json.Unmarshal(body, &got); err != nil {
			return fmt.Sprintf("the body is no JSON object of strings: %q", body)
		}
	case len(body) > 0:
		return fmt.Sprintf("the body is %q, want none", body)
	}
	headers["Content-Type"] = kind
	for name, value := range headers {
		if r.Header.Get(name) != value {
			return fmt.Sprintf("header %s is %q, want %q", name, r.Header.Get(name), value)
		}
	}
	params := want.form
	if want.json != nil {
		params = want.json
	}
	if problem := differs(got, params); problem != "" {
		return problem
	}
	if verifier := got["code_verifier"]; verifier != "" && oauth2.S256ChallengeFromVerifier(verifier) != v.challenge {
		return "the verifier does not belong to the challenge"
	}
	for _, name := range []string{"code", "code_verifier", "refresh_token", "token"} {
		if got[name] != "" {
			v.secrets = append(v.secrets, got[name])
		}
	}
	return ""
}

// differs compares parameters; "" where they are the same.
func differs(got, want map[string]string) string {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		value, ok := got[name]
		if !ok || value != want[name] && want[name] != anything || value == "" {
			return fmt.Sprintf("%s is %q, want %q", name, value, want[name])
		}
	}
	for name, value := range got {
		if _, known := want[name]; !known {
			return fmt.Sprintf("there is %s=%s, which the vendor does not document", name, value)
		}
	}
	return ""
}

// authorize starts a flow, looks at every parameter of the authorization URL,
// and returns the state.
func (v *vendor) authorize(start client.StartRequest, page string, want map[string]string) (state string) {
	v.t.Helper()
	started, err := v.d.Start(v.t.Context(), start)
	if err != nil {
		v.t.Fatalf("Start(%s) = %v", start.ProviderID, err)
	}
	base, query, _ := strings.Cut(started.AuthorizationURL, "?")
	if base != v.URL+"/"+page {
		v.t.Errorf("the person is sent to %s, want %s", base, page)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		v.t.Fatalf("the authorization URL has the query %q: %v", query, err)
	}
	got := map[string]string{}
	for name, value := range values {
		got[name] = strings.Join(value, "|")
	}
	whole := map[string]string{
		"client_id": vendorClientID, "redirect_uri": v.d.callback(), "response_type": "code", "state": started.State,
	}
	maps.Copy(whole, want)
	if problem := differs(got, whole); problem != "" {
		v.t.Errorf("the authorization URL %s: %s", started.AuthorizationURL, problem)
	}
	v.mu.Lock()
	v.challenge = got["code_challenge"]
	v.mu.Unlock()
	return started.State
}

// connect hands on the code that the browser brought, and returns the id of the
// credential.
func (v *vendor) connect(code, state string) (id string) {
	v.t.Helper()
	c, err := v.d.Callback(v.t.Context(), client.CallbackRequest{Code: code, State: state})
	if err != nil {
		v.t.Fatalf("Callback(%s) = %v", code, err)
	}
	if c.Status != "active" || c.AuthType != "oauth2" {
		v.t.Errorf("Callback(%s) = %+v, want an active OAuth2 credential", code, c)
	}
	return c.ID
}

// wantConnectError hands on a code that the vendor refuses.
func (v *vendor) wantConnectError(code, state, reason string) {
	v.t.Helper()
	_, err := v.d.Callback(v.t.Context(), client.CallbackRequest{Code: code, State: state})
	if got := wantError(v.t, "Callback("+code+")", err, http.StatusBadGateway, "provider_error"); !strings.Contains(got.Message, reason) {
		v.t.Errorf("Callback(%s) says %q, want it to name %s", code, got.Message, reason)
	}
}

// wantDeleted deletes a credential and what the vendor knows of it.
func (v *vendor) wantDeleted(id string, revoke bool) {
	v.t.Helper()
	if err := v.d.DeleteCredential(v.t.Context(), id, revoke); err != nil {
		v.t.Errorf("DeleteCredential(%s) = %v", id, err)
	}
	_, err := v.d.Credential(v.t.Context(), id)
	wantError(v.t, "Credential("+id+")", err, http.StatusNotFound, "not_found")
}

// wantRevoked deletes a credential with its tokens, by calls. While the vendor is
// away first, it is deleted all the same, and the calls are made afterwards.
func (v *vendor) wantRevoked(id string, calls ...call) {
	v.t.Helper()
	away := calls[0]
	away.status, away.answer = http.StatusServiceUnavailable, ""
	v.wantRevokedLater(id, []call{away}, calls)
}

// wantRevokedLater is wantRevoked for a deletion that comes a part of the way.
func (v *vendor) wantRevokedLater(id string, before, after []call) {
	v.t.Helper()
	v.expect(slices.Concat(before, after)...)
	v.wantDeleted(id, true)
	for owed := true; owed; {
		status, err := v.d.Status(v.t.Context())
		if err != nil {
			v.t.Fatalf("Status = %v", err)
		}
		owed = slices.ContainsFunc(status.Problems, func(p client.Problem) bool { return strings.Contains(p.What, "not revoked yet") })
	}
}

// wantNotRevoked looks at how a revocation fails, and that the tokens stay.
func (v *vendor) wantNotRevoked(id string, c call, status int, code string) {
	v.t.Helper()
	before, err := v.d.Resolve(v.t.Context(), id, client.ReadOptions{})
	if err != nil {
		v.t.Fatalf("Resolve(%s) = %v", id, err)
	}
	v.expect(c)
	err = v.d.DeleteCredential(v.t.Context(), id, true)
	wantError(v.t, "DeleteCredential("+id+", revoke)", err, status, code)
	after, err := v.d.Resolve(v.t.Context(), id, client.ReadOptions{})
	if err != nil || !reflect.DeepEqual(after.Config, before.Config) {
		v.t.Errorf("Resolve(%s) = %v, %v after a revocation that failed, want what it was", id, after.Config, err)
	}
}

// wantNoRevocation looks at what is said where a vendor has no revocation.
func (v *vendor) wantNoRevocation(id string) {
	v.t.Helper()
	err := v.d.DeleteCredential(v.t.Context(), id, true)
	got := wantError(v.t, "DeleteCredential("+id+", revoke)", err, http.StatusBadRequest, "invalid_request")
	if !strings.Contains(got.Message, "has no revocation") || !strings.Contains(got.Message, "without revoke") {
		v.t.Errorf("DeleteCredential(%s, revoke) says %q, want what is missing and what to do", id, got.Message)
	}
	v.d.credential(id) // still there
}

// end makes the stored access token one that has ended.
func (v *vendor) end(id string) {
	v.t.Helper()
	past := map[string]any{"expiresAt": "2026-01-01T00:00:00Z"}
	if _, err := v.d.UpdateCredential(v.t.Context(), id, client.CredentialInput{Config: past}); err != nil {
		v.t.Fatalf("UpdateCredential(%s) = %v", id, err)
	}
}

// with returns a copy of params with more in it; an empty value takes one out.
func with(params map[string]string, pairs ...string) map[string]string {
	out := maps.Clone(params)
	for pair := range slices.Chunk(pairs, 2) {
		out[pair[0]] = pair[1]
		if pair[1] == "" {
			delete(out, pair[0])
		}
	}
	return out
}

// posted is the client in a form, as most vendors take it.
var posted = map[string]string{"client_id": vendorClientID, "client_secret": vendorClientSecret}

// codeForm is the exchange of a code as RFC 6749, section 4.1.3, and RFC 7636
// have it, by client_secret_post.
func (v *vendor) codeForm(code string) map[string]string {
	return with(posted, "grant_type", "authorization_code", "code", code, "redirect_uri", v.d.callback(), "code_verifier", anything)
}

// refreshForm is a refresh as RFC 6749, section 6, has it, by client_secret_post.
func refreshForm(refreshToken string) map[string]string {
	return with(posted, "grant_type", "refresh_token", "refresh_token", refreshToken)
}

// challenged are the parameters of RFC 7636 in an authorization URL.
var challenged = map[string]string{"code_challenge": anything, "code_challenge_method": "S256"}

// lost is an answer that something on the way replaced: whether the refresh
// token was spent cannot be told. The header keeps the daemon's own next attempt
// out of the test.
func lost(request string, form map[string]string) call {
	return call{request: request, form: form, answer: "<html>", reply: map[string]string{"Content-Type": "text/html", "Retry-After": "600"}}
}
