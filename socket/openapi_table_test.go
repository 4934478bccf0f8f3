package socket

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/invectd/invectd/broker"
)

// A request is what a trial sends; ref stands for {ref}, {id} or {name}.
type request struct {
	ref, query, body string
	headers          []string // names and values by turns
}

// or returns r with what it does not say taken from good.
func (r request) or(good request) request {
	if r.ref == "" {
		r.ref = good.ref
	}
	if r.query == "" {
		r.query = good.query
	}
	if r.body == "" {
		r.body = good.body
	}
	r.headers = append(slices.Clone(good.headers), r.headers...)
	return r
}

// path is the path and the query for an operation.
func (r request) path(operation string) string {
	_, path, _ := strings.Cut(operation, " ")
	return strings.NewReplacer("{ref}", r.ref, "{id}", r.ref, "{name}", r.ref).Replace(path) + r.query
}

// A trial is a request and the answer that it has to get. Its fault, if any, says
// which server is asked, nil for the usual one.
type trial struct {
	status int
	code   string
	request
	fault func(*world) *http.Client
}

// An exercise is all that is tried with one operation. The good request gets the
// status done, and is tried last, since it may change the world.
type exercise struct {
	good       request
	done       int
	infallible bool // nothing that it needs can be missing
	trials     []trial
}

func (e exercise) all() []trial {
	all := []trial{
		{403, "forbidden", request{headers: []string{"Origin", "https://evil.example"}}, nil},
		{503, "shutting_down", request{}, func(f *world) *http.Client { return f.toDraining }},
		{429, "too_many_requests", request{}, func(f *world) *http.Client { return f.toBusy }},
	}
	if !e.infallible {
		all = append(all, trial{500, "internal", request{}, func(f *world) *http.Client { return f.toHollow }})
	}
	return slices.Concat(all, e.trials, []trial{{e.done, "", request{}, nil}})
}

func storeFails(f *world) *http.Client {
	f.store.Fail(errFull)
	return nil
}

func refreshFails(err error) func(*world) *http.Client {
	return func(f *world) *http.Client {
		f.refresher.fail(err)
		return nil
	}
}

func providerFails(err error) func(*world) *http.Client {
	return func(f *world) *http.Client {
		f.provider.fail(err)
		return nil
	}
}

var (
	refuses = &broker.ProviderError{Op: "refresh", Provider: "gamma", Sent: broker.SentAnswered, Status: 400, Code: "invalid_client"}
	isAway  = &broker.ProviderError{Op: "refresh", Provider: "gamma", Err: errors.New("connection refused")}
	isLate  = &broker.ProviderError{Op: "refresh", Provider: "gamma", Sent: broker.SentUnknown, Timeout: true}
)

var (
	// byName are for {ref}, and differ where the body names the credential.
	byName = []trial{
		{404, "not_found", request{ref: "nobody"}, nil},
		{409, "ambiguous_name", request{ref: "twice"}, nil},
	}
	// withBody are for all operations that read one.
	withBody = []trial{
		{400, "invalid_json", request{body: "{"}, nil},
		{400, "invalid_request", request{body: `{"nonsense":1}`}, nil},
		{413, "too_large", request{body: strings.Repeat(" ", maxBody+1)}, nil},
		{415, "unsupported_media_type", request{headers: []string{"Content-Type", "text/plain"}}, nil},
	}
	badWait    = trial{400, "invalid_request", request{query: "?wait=soon"}, nil}
	storeIsOff = trial{503, "store_unavailable", request{}, storeFails}
)

// refreshing are the failures of a refresh that a request has to wait for.
func refreshing(r request) []trial {
	retry := func(err error) error { return &broker.RetryError{After: time.Minute, Err: err} }
	reauthorize := &broker.ReauthorizeError{ID: "i", Name: "ended", Provider: "gamma", Reason: "it was refused"}
	return []trial{
		{502, "provider_error", r, refreshFails(retry(broker.ErrNotConfigured))},
		{409, "reauth_required", r, refreshFails(reauthorize)},
		{409, "authorization_pending", r, refreshFails(broker.ErrAuthorizationPending)},
		{502, "provider_error", r, refreshFails(retry(refuses))},
		{503, "provider_unavailable", r, refreshFails(retry(isAway))},
		{503, "provider_unavailable", r, refreshFails(retry(broker.ErrWaitEnded))},
		{503, "store_unavailable", r, refreshFails(retry(broker.ErrStoreUnavailable))},
		{504, "provider_timeout", r, refreshFails(retry(isLate))},
	}
}

// asking are the failures of a provider that an operation asks itself.
func asking(r request) []trial {
	return []trial{
		{502, "provider_error", r, providerFails(refuses)},
		{503, "provider_unavailable", r, providerFails(isAway)},
		{504, "provider_timeout", r, providerFails(isLate)},
	}
}

// anyKey is an encryption key as operators write it.
const anyKey = "bmV3IGtleSBuZXcga2V5IG5ldyBrZXkgbmV3IGtleSE="

// exercises are by operation. Names are those that [world.inhabit] gives.
var exercises = map[string]exercise{
	"GET /credentials/{ref}/token": {request{ref: "mail", query: "?minValidity=60s&wait=30"}, 200, false, slices.Concat(
		byName, refreshing(request{ref: "ended"}), []trial{badWait,
			{409, "no_token", request{ref: "kiosk"}, nil},
			{409, "disabled", request{ref: "off"}, nil},
			{200, "", request{ref: "solo"}, nil},
			{200, "", request{ref: "brief", query: "?minValidity=2h"}, refreshFails(isAway)}, // degraded
			{200, "", request{ref: "ended"}, nil},                                            // renewed
		})},
	"GET /credentials/{ref}/resolve": {request{ref: "mail"}, 200, false, slices.Concat(
		byName, refreshing(request{ref: "ended"}), []trial{badWait,
			{409, "disabled", request{ref: "off"}, nil},
			{200, "", request{ref: "tokenless"}, nil},
		})},
	"GET /credentials/{ref}/header": {request{ref: "mail"}, 200, false, slices.Concat(
		byName, refreshing(request{ref: "ended"}), []trial{badWait,
			{409, "no_token", request{ref: "tokenless"}, nil},
			{409, "disabled", request{ref: "off"}, nil},
			{200, "", request{ref: "kiosk"}, nil},
		})},
	"POST /credentials/{ref}/rejected": {request{ref: "mail", body: `{"generation":1,"userId":"u"}`}, 200, false, slices.Concat(
		byName, withBody, refreshing(request{ref: "ended"}), []trial{badWait,
			{400, "invalid_request", request{ref: "solo"}, nil},
			{400, "invalid_request", request{body: `{"generation":2}`}, nil},
			{409, "disabled", request{ref: "off"}, nil},
		})},
	"GET /token": {request{query: "?provider=solo"}, 200, false, slices.Concat(
		refreshing(request{query: "?provider=omega"}), []trial{
			{400, "invalid_request", request{query: "?provider="}, nil},
			{404, "not_found", request{query: "?provider=none"}, nil},
			{409, "ambiguous_provider", request{query: "?provider=gamma"}, nil},
			{409, "no_token", request{query: "?provider=kiosk"}, nil},
			{409, "disabled", request{query: "?provider=closed"}, nil},
		})},

	"GET /credentials": {request{}, 200, false, []trial{storeIsOff,
		{400, "invalid_request", request{query: "?limit=0"}, nil},
		{200, "", request{query: "?limit=1&provider=gamma"}, nil},
	}},
	"POST /credentials": {request{body: `{"type":"api_key","name":"My OpenAI Key","userId":"user_123","config":{"apiKey":"sk-1"}}`}, 201, false,
		slices.Concat(withBody, []trial{storeIsOff,
			{404, "unknown_provider", request{body: `{"authType":"oauth2","provider":"none"}`}, nil},
			{201, "", request{body: `{"authType":"oauth2","provider":"gamma","description":null,"workspaceId":null}`}, nil}, // pending
		})},
	"GET /credentials/{ref}": {request{ref: "mail"}, 200, false, slices.Concat(byName, []trial{storeIsOff})},
	"PUT /credentials/{ref}": {request{ref: "mail", body: `{"id":"x","name":"letters","provider":null,"status":null,"isShared":true}`}, 200, false,
		slices.Concat(byName, withBody, []trial{storeIsOff})},
	"PATCH /credentials/{ref}": {request{ref: "mail", body: `{"isActive":false,"config":{"scope":null}}`}, 200, false,
		slices.Concat(byName, withBody, []trial{storeIsOff})},
	"DELETE /credentials/{ref}": {request{ref: "mail", query: "?revoke=true"}, 204, false, slices.Concat(byName, []trial{storeIsOff,
		{400, "invalid_request", request{ref: "solo"}, nil},
		{502, "provider_error", request{}, providerFails(refuses)},
		{502, "provider_error", request{ref: "burnt"}, refreshFails(refuses)},
		{503, "provider_unavailable", request{ref: "burnt"}, refreshFails(isAway)},
		{504, "provider_timeout", request{ref: "burnt"}, refreshFails(isLate)},
		{204, "", request{ref: "alone"}, providerFails(isAway)}, // and queued
		{404, "unknown_provider", request{ref: "orphan"}, nil},
	})},
	"POST /credentials/{ref}/refresh": {request{ref: "mail", body: `{"userId":"u"}`}, 200, false, slices.Concat(
		byName, withBody, refreshing(request{}), []trial{
			{409, "disabled", request{ref: "off"}, nil},
		})},
	"POST /credentials/{ref}/test": {request{ref: "mail", body: `{"userId":"u"}`}, 200, false, slices.Concat(byName, withBody, []trial{
		{503, "store_unavailable", request{}, storeFails},
		{200, "", request{ref: "tokenless"}, nil}, // it fails
	})},
	"GET /credentials/{ref}/usage":        {request{ref: "mail"}, 200, false, slices.Concat(byName, []trial{storeIsOff})},
	"POST /credentials/{ref}/track-usage": {request{ref: "mail", body: `{"userId":"u"}`}, 204, false, slices.Concat(byName, withBody)},
	"GET /credentials/expiring": {request{query: "?daysUntilExpiry=36500"}, 200, false, []trial{storeIsOff,
		{400, "invalid_request", request{query: "?daysUntilExpiry=soon"}, nil},
	}},
	"POST /credentials/test-request": {
		request{body: `{"url":"https://api.example/me","method":"post","headers":{"X-A":"b"},"body":{"a":1},"credentialId":"mail"}`}, 200, false,
		slices.Concat(withBody, asking(request{}), refreshing(request{body: `{"url":"https://api.example/","credentialId":"ended"}`}), []trial{
			{404, "not_found", request{body: `{"url":"https://api.example/","credentialId":"nobody"}`}, nil},
			{404, "unknown_provider", request{body: `{"url":"https://api.example/","credentialId":"orphan"}`}, nil},
			{409, "ambiguous_name", request{body: `{"url":"https://api.example/","credentialId":"twice"}`}, nil},
			{409, "no_token", request{body: `{"url":"https://api.example/","credentialId":"tokenless"}`}, nil},
			{409, "disabled", request{body: `{"url":"https://api.example/","credentialId":"off"}`}, nil},
		})},

	"GET /credentials/oauth2/providers": {request{}, 200, false, nil},
	"POST /credentials/oauth2/providers": {request{body: `{"id":"delta","name":"Delta","tokenUrl":"https://d.example/t","authorizationUrl":"https://d.example/a","source":"api"}`}, 201, false,
		slices.Concat(withBody, []trial{storeIsOff,
			{409, "conflict", request{body: `{"id":"acme","name":"Acme","issuer":"https://d.example"}`}, nil},
		})},
	"GET /credentials/oauth2/providers/schema": {request{}, 200, false, nil},
	"GET /credentials/oauth2/providers/{id}": {request{ref: "gamma"}, 200, false, []trial{
		{404, "unknown_provider", request{ref: "none"}, nil},
	}},
	"PUT /credentials/oauth2/providers/{id}": {request{ref: "gamma", body: `{"name":"Gamma","issuer":"https://d.example"}`}, 200, false,
		slices.Concat(withBody, []trial{storeIsOff,
			{409, "conflict", request{ref: "acme"}, nil},
			{200, "", request{ref: "acme", query: "?override=true"}, nil},
		})},
	"DELETE /credentials/oauth2/providers/{id}": {request{ref: "gamma"}, 204, false, []trial{storeIsOff,
		{404, "unknown_provider", request{ref: "none"}, nil},
		{409, "conflict", request{ref: "acme"}, nil},
	}},
	"POST /credentials/oauth2/providers/{id}/accept": {request{ref: "gamma", body: `{"origins":["https://api.example","https://p.example"],"userId":"u"}`}, 200, false,
		slices.Concat(withBody, []trial{storeIsOff,
			{404, "unknown_provider", request{ref: "none"}, nil},
			{409, "conflict", request{body: `{"origins":["https://elsewhere.example"]}`}, nil},
			{200, "", request{ref: "acme", body: `{}`}, nil},
		})},
	"GET /credentials/oauth2/apps": {request{}, 200, false, []trial{storeIsOff}},
	"GET /credentials/oauth2/apps/{id}": {request{ref: "gamma"}, 200, false, []trial{storeIsOff,
		{404, "not_found", request{ref: "acme"}, nil},
	}},
	"PUT /credentials/oauth2/apps/{id}": {request{ref: "acme", body: `{"providerId":"acme","clientId":"c","clientSecret":"s","userId":"u"}`}, 200, false,
		slices.Concat(withBody, []trial{storeIsOff,
			{404, "unknown_provider", request{ref: "none", body: `{"clientId":"c"}`}, nil},
		})},
	"DELETE /credentials/oauth2/apps/{id}": {request{ref: "gamma"}, 204, false, []trial{storeIsOff,
		{404, "not_found", request{ref: "acme"}, nil},
	}},

	"GET /grants": {request{}, 200, false, nil},
	"POST /grants": {request{body: `{"name":"n","credentials":["mail"],"providers":["gamma"],"may":["token","header"],"uids":[1],"units":["a*"],"cgroups":["/b"],"ttl":"1h","userId":"u"}`}, 201, false,
		slices.Concat(withBody, []trial{storeIsOff,
			{400, "invalid_request", request{body: `{"credentials":["mail"],"ttl":"soon"}`}, nil},
			{400, "invalid_request", request{body: `{"credentials":["mail"],"ttl":"1000h"}`}, nil},
			{400, "invalid_request", request{body: `{"credentials":["mail"],"ttl":"0"}`}, nil},
			{400, "invalid_request", request{body: `{"ttl":"1h"}`}, nil},
			{400, "invalid_request", request{body: `{"credentials":["mail"],"ttl":"1h","may":["admin"]}`}, nil},
			{400, "invalid_request", request{body: `{"credentials":["mail"],"ttl":"1h","may":["*"]}`}, nil},
			{400, "invalid_request", request{body: `{"credentials":["mail"],"ttl":"1h","may":["fly"]}`}, nil},
			{400, "invalid_request", request{body: `{"credentials":["mail"],"ttl":"1h","units":["["]}`}, nil},
			{400, "invalid_request", request{body: `{"credentials":["mail"],"ttl":"1h","name":"\u0000"}`}, nil},
			{404, "not_found", request{body: `{"credentials":["nobody"],"ttl":"1h"}`}, nil},
			{409, "ambiguous_name", request{body: `{"credentials":["twice"],"ttl":"1h"}`}, nil},
		})},
	"GET /grants/{id}": {request{ref: "GRANT"}, 200, false, []trial{
		{404, "not_found", request{ref: "none"}, nil},
	}},
	"DELETE /grants/{id}": {request{ref: "GRANT"}, 204, false, []trial{storeIsOff,
		{404, "not_found", request{ref: "none"}, nil},
		{403, "forbidden", request{headers: []string{"Invect-Grant", "ivg_nothing"}}, nil},
	}},

	"GET /plugins": {request{}, 200, false, nil},
	"POST /plugins/{name}/trust": {request{ref: "my_service", body: `{"digest":"` + pluginDigest + `","hooks":["token_request"],"userId":"u"}`}, 200, false,
		slices.Concat(withBody, []trial{storeIsOff,
			{200, "", request{ref: "my_service"}, nil},
			{400, "invalid_request", request{ref: "my_service", body: `{"hooks":["everything"]}`}, nil},
			{404, "not_found", request{ref: "none"}, nil},
			{409, "conflict", request{ref: "my_service", body: `{"digest":"sha256:00"}`}, nil},
		})},
	"DELETE /plugins/{name}/trust": {request{ref: "my_service"}, 204, false, []trial{storeIsOff,
		{404, "not_found", request{ref: "none"}, nil},
	}},

	"POST /credentials/oauth2/start": {request{body: `{"providerId":"gamma","returnUrl":"https://front.example/","scopes":[],"params":{"prompt":"consent"},"userId":"u"}`}, 200, false,
		slices.Concat(withBody, asking(request{}), []trial{storeIsOff,
			{404, "unknown_provider", request{body: `{"providerId":"none"}`}, nil},
			{404, "not_found", request{body: `{"existingCredentialId":"nobody"}`}, nil},
			{409, "ambiguous_name", request{body: `{"existingCredentialId":"twice"}`}, nil},
			{200, "", request{body: `{"existingCredentialId":"mail"}`}, nil},
		})},
	"POST " + devicePath: {request{body: `{"providerId":"gamma","scopes":["read"],"credentialName":"Kiosk","userId":"u"}`}, 200, false,
		slices.Concat(withBody, asking(request{}), []trial{storeIsOff,
			{400, "invalid_request", request{body: `{"providerId":"acme","clientId":"c"}`}, nil},
			{404, "unknown_provider", request{body: `{"providerId":"none"}`}, nil},
			{404, "not_found", request{body: `{"existingCredentialId":"nobody"}`}, nil},
			{409, "ambiguous_name", request{body: `{"existingCredentialId":"twice"}`}, nil},
			{409, "conflict", request{body: `{"existingCredentialId":"mail"}`}, nil},
		})},
	"GET " + devicePath + "/{id}": {request{ref: "DEVICE"}, 200, false, []trial{storeIsOff,
		{404, "not_found", request{ref: "none"}, nil},
		{404, "not_found", request{ref: "none-none"}, nil},
	}},
	"POST " + callbackPath: {request{body: `{"code":"c","state":"STATE","clientId":"ignored","params":{"realmId":"1"}}`}, 200, false,
		slices.Concat(withBody, asking(request{}), []trial{storeIsOff,
			{400, "invalid_request", request{body: `{"state":"STATE"}`}, nil},
			{400, "invalid_state", request{body: `{"code":"c","state":"unknown"}`}, nil},
			{404, "not_found", request{body: `{"code":"c","state":"GONE"}`}, nil},
		})},
	"GET " + callbackPath: {request{query: "?code=c&state=STATE"}, 200, false, []trial{
		{303, "", request{query: "?code=c&state=RETURNS"}, nil},
		{303, "", request{query: "?error=access_denied&state=RETURNS"}, nil},
		{400, "", request{query: "?code=c&state=unknown"}, nil},
		{400, "", request{query: "?state=STATE"}, nil},
		{403, "", request{query: "?error=access_denied&state=STATE"}, nil},
		{403, "", request{headers: []string{"Host", "rebound.example"}}, nil},
		{502, "", request{}, providerFails(refuses)},
		{502, "", request{}, storeFails},
	}},

	"POST /admin/backup": {request{}, 200, false, []trial{storeIsOff}},
	"POST /admin/rotate-key": {request{body: `{"retire":true,"userId":"u"}`}, 200, false, slices.Concat(withBody, []trial{storeIsOff,
		{400, "invalid_request", request{body: `{}`}, nil},
		{400, "invalid_request", request{body: `{"retire":false}`}, nil},
		{400, "invalid_request", request{body: `{"key":""}`}, nil},
		{400, "invalid_request", request{body: `{"key":"` + anyKey + `","retire":true}`}, nil},
		{503, "store_unavailable", request{body: `{"key":"` + anyKey + `"}`}, storeFails},
		{200, "", request{body: `{"key":"` + anyKey + `"}`}, nil},
		{409, "conflict", request{body: `{"key":"` + anyKey + `"}`}, nil},
	})},
	"GET /policy": {request{}, 200, false, nil},
	"POST /policy/test": {request{body: `{"uid":1000,"groups":[5],"verb":"token","supposed":{"name":"a","metadata":{"team":1}},"userId":"u"}`}, 200, false,
		slices.Concat(withBody, []trial{
			{400, "invalid_request", request{body: `{"verb":"steal"}`}, nil},
			{400, "invalid_request", request{body: `{"verb":"token","credential":"mail","supposed":{}}`}, nil},
			{404, "not_found", request{body: `{"verb":"token","credential":"nobody"}`}, nil},
			{409, "ambiguous_name", request{body: `{"verb":"token","credential":"twice"}`}, nil},
			{200, "", request{body: `{"verb":"token","credential":"mail","runner":true,"uid":0}`}, nil},
		})},
	"GET /events": {request{headers: []string{"Last-Event-ID", "0"}}, 200, false, []trial{
		{400, "invalid_request", request{headers: []string{"Last-Event-ID", "soon"}}, nil},
	}},
	"GET /status":       {request{}, 200, false, []trial{{200, "", request{}, storeFails}}},
	"GET /version":      {request{}, 200, true, nil},
	"GET /openapi.json": {request{}, 200, true, nil},
	"GET /metrics":      {request{}, 200, false, nil},
	"GET /healthz":      {request{}, 200, true, nil},
	"GET /readyz":       {request{}, 200, false, []trial{storeIsOff}},
	"HEAD /healthz":     {request{}, 200, true, nil},
	"HEAD /readyz":      {request{}, 200, false, []trial{storeIsOff}},
}
