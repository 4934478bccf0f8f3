package plugins

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/invectd/invectd/broker"
)

// A Quirk is one thing that a provider does otherwise than RFC 6749 has it, as
// its definition says.
type Quirk struct {
	Kind   string // the same words for all providers that have it
	Detail string // how it is with this one; maybe ""
}

func (q Quirk) String() string { return strings.TrimSuffix(q.Kind+": "+q.Detail, ": ") }

// Quirks returns what a definition says that is not the standard behaviour, in
// the order in which a connection meets it.
func Quirks(d broker.Definition) []Quirk {
	var q quirks
	q.inputs(d)
	q.authorization(d)
	q.token(d)
	q.answer(d)
	q.refresh(d)
	q.after(d)
	return q
}

type quirks []Quirk

// add adds a quirk where it is there.
func (q *quirks) add(is bool, kind, detail string) {
	if is {
		*q = append(*q, Quirk{kind, detail})
	}
}

func (q *quirks) inputs(d broker.Definition) {
	var given, brought, hosts []string
	for _, name := range slices.Sorted(maps.Keys(d.Inputs)) {
		if d.Inputs[name].Callback != "" {
			brought = append(brought, d.Inputs[name].Callback)
		} else {
			given = append(given, name)
		}
		if strings.Contains(hostOf(d.AuthorizationURL)+hostOf(d.TokenURL), "{"+name+"}") {
			hosts = append(hosts, name)
		}
	}
	q.add(len(given) > 0, "asks for inputs", strings.Join(given, ", "))
	q.add(len(hosts) > 0, "an input chooses the host", strings.Join(hosts, ", "))
	q.add(len(brought) > 0, "the redirect brings values", strings.Join(brought, ", "))
}

func hostOf(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	host, _, _ := strings.Cut(rest, "/")
	return host
}

func (q *quirks) authorization(d broker.Definition) {
	separator := map[string]string{",": "comma"}[d.ScopeSeparator]
	q.add(d.ScopeSeparator != "" && d.ScopeSeparator != " ", "scopes have a separator of their own", cmp.Or(separator, d.ScopeSeparator))
	q.add(len(d.RequiredScopes) > 0, "scopes that are always asked for", strings.Join(d.RequiredScopes, " "))
	q.add(len(d.AdditionalAuthParams) > 0, "more authorization parameters", pairs(d.AdditionalAuthParams))
	q.add(d.AuthorizationRequest.ResponseType != "", "response_type is not code", d.AuthorizationRequest.ResponseType)
	q.add(len(d.AuthorizationRequest.Rename) > 0, "authorization parameters are renamed", pairs(d.AuthorizationRequest.Rename))
	q.add(d.PKCE == broker.PKCENone, "no PKCE", "")
	q.add(d.PKCE == broker.PKCERequired, "PKCE is required", "")
}

func (q *quirks) token(d broker.Definition) {
	q.add(d.ClientAuthentication == broker.ClientSecretBasic, "the client's secret goes into HTTP Basic", "")
	q.add(d.ClientAuthentication == broker.ClientAuthNone, "clients have no secret", "")
	q.add(d.ClientAuthentication == broker.PrivateKeyJWT, "clients sign a JWT", "")
	r := d.TokenRequest
	q.add(r.Format == "json", "token requests are JSON", "")
	q.add(r.Format == "query", "token requests have their parameters in the URL", "")
	q.add(len(r.Params) > 0, "more or fewer token parameters", params(r.Params))
	q.add(len(r.Rename) > 0, "token parameters are renamed", pairs(r.Rename))
	q.add(len(r.Headers) > 0, "token requests have headers", strings.Join(slices.Sorted(maps.Keys(r.Headers)), ", "))
	q.add(d.LongLivedRequest.URL != "", "the code's token is traded for a long-lived one", "")
}

func (q *quirks) answer(d broker.Definition) {
	a := d.TokenResponse
	q.add(len(a.AccessToken) > 0, "tokens lie elsewhere in the answer", strings.Join(a.AccessToken, ", "))
	q.add(len(a.Tokens) > 0, "an answer has several tokens", strings.Join(slices.Sorted(maps.Keys(a.Tokens)), ", "))
	q.add(a.Success != nil, "errors come with HTTP 200", "")
	q.add(len(a.ReauthErrors)+len(a.ClientErrors) > 0, "errors have codes of their own", strings.Join(slices.Concat(a.ReauthErrors, a.ClientErrors), ", "))
	q.add(a.DefaultExpiresIn > 0, "a lifetime for answers that do not say it", duration(broker.Duration(time.Duration(a.DefaultExpiresIn)*time.Second)))
	q.add(len(a.Capture) > 0, "answers have values to keep", strings.Join(slices.Sorted(maps.Keys(a.Capture)), ", "))
}

func (q *quirks) refresh(d broker.Definition) {
	r, own := d.Refresh, d.RefreshRequest
	q.add(d.SupportsRefresh != nil && !*d.SupportsRefresh, "no refresh tokens", "")
	q.add(own.URL != "", "refreshes have a URL of their own", "")
	q.add(len(own.Params)+len(own.Rename) > 0, "refreshes have parameters of their own", strings.Trim(params(own.Params)+", "+pairs(own.Rename), ", "))
	q.add(r.Rotation == "always", "each refresh brings a new refresh token", "")
	q.add(r.Rotation == "never", "the refresh token stays the same", "")
	q.add(r.ReuseGrace > 0, "a spent refresh token works for some time", duration(r.ReuseGrace))
	q.add(r.Lead > 0, "renewed at a time of its own", duration(r.Lead)+" before the end")
	q.add(r.IdleLifetime > 0, "a refresh token dies unused", "after "+duration(r.IdleLifetime))
	q.add(r.MaxLifetime > 0, "consent ends", "after "+duration(r.MaxLifetime))
}

func (q *quirks) after(d broker.Definition) {
	q.add(!reflect.ValueOf(d.RevocationRequest).IsZero(), "revocation is not that of RFC 7009", "")
	if d.Lookup != nil {
		q.add(true, "something is looked up after connecting", strings.Join(slices.Sorted(maps.Keys(d.Lookup.Capture)), ", "))
	}
}

func duration(d broker.Duration) string {
	text, _ := d.MarshalText() // which cannot fail
	return string(text)
}

// pairs returns the entries of a map as a=b, sorted.
func pairs(m map[string]string) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, name+"="+m[name])
	}
	return strings.Join(out, ", ")
}

// params is pairs for parameters, of which some are taken away.
func params(m map[string]*string) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if m[name] == nil {
			out = append(out, "no "+name)
		} else {
			out = append(out, name+"="+*m[name])
		}
	}
	return strings.Join(out, ", ")
}
