package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
)

// exchangeTimeout bounds the trade of a code, which outlives the caller: the
// code is spent once it was sent.
const exchangeTimeout = 30 * time.Second

// A StartRequest begins an authorization-code flow.
type StartRequest struct {
	ProviderID           string
	ClientID             string
	ClientSecret         Secret
	RedirectURI          string   // "" for the daemon's own callback
	Scopes               []string // nil for the default ones
	ReturnURL            string
	CredentialName       string
	ExistingCredentialID string // an id or a name; the credential to reconnect
	Inputs               map[string]string
	Params               map[string]string
}

// A Started flow is where to send the person.
type Started struct {
	AuthorizationURL string
	State            string
}

// StartAuthorization begins a flow (RFC 6749, section 4.1.1, with RFC 7636). It
// creates no credential.
func (b *Broker) StartAuthorization(ctx context.Context, caller Caller, r StartRequest) (_ Started, err error) {
	existing, entry, err := b.authorizeStart(ctx, caller, &r)
	if err != nil {
		return Started{}, err
	}
	a, err := b.plan(r, existing)
	if err != nil {
		return Started{}, err
	}
	a.StartedBy = caller
	a.StartedBy.Grant = nil // it may be revoked before the end
	if existing == nil {
		if entry, err = b.authorizeNew(caller, VerbConnect, a.subject()); err != nil {
			return Started{}, err
		}
	}
	change, err := b.begin(entry)
	if err != nil {
		return Started{}, err
	}
	defer change.end(&err)
	connection, err := b.connectionOf(ctx, &a, existing, r.ClientID != "")
	if err != nil {
		return Started{}, err
	}
	authorizationURL, err := b.Server.AuthorizationURL(ctx, connection, AuthorizationRequest{
		RedirectURI: a.RedirectURI, State: a.State, Scopes: a.Scopes, Verifier: a.Verifier, Params: a.Params,
	})
	if err != nil {
		return Started{}, err
	}
	if err := b.Store.CreateAuthorization(ctx, a); err != nil {
		return Started{}, fmt.Errorf("storing the authorization: %w", err)
	}
	return Started{authorizationURL, a.State}, nil
}

// connectionOf returns the connection of a new flow. A secret that is stored with
// the credential goes to no host that the credential was not authorised with;
// one that is given with the request goes where the definition says.
func (b *Broker) connectionOf(ctx context.Context, a *Authorization, existing *Credential, clientGiven bool) (Connection, error) {
	if existing == nil || clientGiven || !a.Client.hasSecret() {
		return b.connections.connect(ctx, a.Definition, a.Client, a.Inputs)
	}
	connection, err := b.connections.connectWithin(ctx, a.Definition, a.Client, a.Inputs, existing.Origins)
	if err != nil {
		return Connection{}, err
	}
	return connection, connection.checkTokenHost(fmt.Sprintf("the client of credential %q", existing.Name))
}

// authorizeStart decides, and reads the credential that is to be reconnected.
func (b *Broker) authorizeStart(ctx context.Context, caller Caller, r *StartRequest) (*Credential, AuditEntry, error) {
	if r.ExistingCredentialID == "" && r.ProviderID == "" {
		return nil, AuditEntry{}, invalid("providerId", "say which provider to connect to")
	}
	if r.ExistingCredentialID == "" {
		return nil, AuditEntry{}, b.gate(caller, VerbConnect, r.ProviderID)
	}
	s, err := b.find(ctx, caller, VerbConnect, r.ExistingCredentialID)
	if err != nil {
		return nil, AuditEntry{}, err
	}
	c, err := b.Store.Get(ctx, s.ID)
	if err != nil {
		return nil, AuditEntry{}, fmt.Errorf("reading credential %q: %w", s.Name, err)
	}
	if c.AuthType != AuthOAuth2 || c.Provider == "" {
		return nil, AuditEntry{}, invalid("existingCredentialId", "credential %q is no connection to an OAuth2 provider", c.Name)
	}
	if r.ProviderID == "" {
		r.ProviderID = c.Provider
	}
	if r.ProviderID != c.Provider {
		return nil, AuditEntry{}, invalid("providerId", "credential %q is of %s", c.Name, c.Provider)
	}
	return &c, s.entry, nil
}

// plan turns a request into the authorization to be stored.
func (b *Broker) plan(r StartRequest, existing *Credential) (Authorization, error) {
	a, err := b.outline(r, existing)
	if err != nil {
		return Authorization{}, err
	}
	if d := &a.Definition; d.GrantTypes != nil && !slices.Contains(d.GrantTypes, GrantAuthorizationCode) {
		return Authorization{}, invalid("providerId", "%s has no authorization-code flow", d.ID)
	}
	a.State, a.RedirectURI = random256(), r.RedirectURI
	a.ExpiresAt = time.Now().UTC().Add(AuthorizationLifetime)
	if a.Definition.PKCE != PKCENone {
		a.Verifier = NewSecret(random256())
	}
	return a, b.settleRedirect(&a, r.ReturnURL)
}

// outline is what flows have in common: whom to ask for what, and where it goes.
func (b *Broker) outline(r StartRequest, existing *Credential) (Authorization, error) {
	definition, err := b.Definitions.Definition(r.ProviderID)
	if err != nil {
		return Authorization{}, err
	}
	d := definition.Definition
	if r.ClientID == "" && !r.ClientSecret.Empty() {
		return Authorization{}, invalid("clientId", "is needed beside clientSecret")
	}
	a := Authorization{
		Definition: d, Client: Client{ID: r.ClientID, Secret: r.ClientSecret},
		Inputs: r.Inputs, Params: r.Params, CredentialName: r.CredentialName,
	}
	if existing != nil {
		a.CredentialID = existing.ID
		if err := a.reuse(existing); err != nil {
			return Authorization{}, err
		}
		if r.Scopes == nil {
			r.Scopes = existing.scopes()
		}
		if r.Params == nil {
			a.Params = existing.params()
		}
	}
	for name := range a.Params {
		if IsProtocolParam(name) {
			return Authorization{}, invalid("params."+name, "is a parameter of the protocol, which the flow itself sets")
		}
	}
	if a.CredentialName != "" {
		if err := checkName(a.CredentialName); err != nil {
			return Authorization{}, invalid("credentialName", "give 1 to 200 characters, none of them control characters")
		}
	}
	for i, scope := range r.Scopes {
		if !printable(scope) {
			return Authorization{}, invalid("scopes", "scope %d is empty or has spaces or control characters", i)
		}
	}
	a.Scopes = d.Scopes(r.Scopes)
	return a, nil
}

// reuse takes the client and the inputs of a credential where none are given.
// Its client's secret goes to no other host than before.
func (a *Authorization) reuse(c *Credential) error {
	stored := c.Config.Texts(KeyInputs)
	if a.Inputs == nil {
		a.Inputs = stored
	}
	if a.Client.ID != "" {
		return nil
	}
	a.Client = clientOf(c.Config)
	for _, name := range a.Definition.freeHosts() {
		if _, isInput := a.Definition.Inputs[name]; isInput && a.Client.ID != "" && a.Inputs[name] != stored[name] {
			return invalid("inputs."+name, "chooses the host that the stored client secret is sent to: give clientId and clientSecret with it")
		}
	}
	return nil
}

// scopes are those that a connection was made with, maybe none; nil if that is
// not known.
func (c *Credential) scopes() []string {
	list, known := c.Metadata["scopes"].([]any)
	if !known {
		return nil
	}
	out := make([]string, 0, len(list))
	for _, scope := range list {
		if text, ok := scope.(string); ok {
			out = append(out, text)
		}
	}
	return out
}

// params are those that a connection was made with beside the definition's, as
// Slack's user_scope; nil if there were none.
func (c *Credential) params() map[string]string {
	object, _ := c.Metadata[keyParams].(map[string]any)
	var out map[string]string
	for name, value := range object {
		if text, ok := value.(string); ok {
			if out == nil {
				out = map[string]string{}
			}
			out[name] = text
		}
	}
	return out
}

// keyParams is where the metadata keeps the parameters of a flow. They are no
// secret: they went through a browser.
const keyParams = "params"

// settleRedirect fills in the daemon's own callback, and judges where the
// browser may be sent in the end: nowhere but to the origins that the operator
// names, since an open redirector leaks (RFC 9700, section 4.11).
func (b *Broker) settleRedirect(a *Authorization, returnURL string) error {
	own := b.CallbackURL()
	if a.RedirectURI == "" {
		if own == "" {
			return invalid("redirectUri", "is needed, since the daemon's own callback is off")
		}
		a.RedirectURI = own
	}
	u, err := url.Parse(a.RedirectURI)
	if err != nil || !u.IsAbs() || u.Fragment != "" || u.Host == "" && (u.Scheme == "http" || u.Scheme == "https") || !printable(a.RedirectURI) {
		return invalid("redirectUri", "give an absolute URL without a fragment")
	}
	switch {
	case returnURL == "":
	case b.mayReturn(returnURL):
		a.ReturnURL = returnURL
	case a.RedirectURI == own:
		return invalid("returnUrl", "its origin is not among --return-origins")
	}
	return nil
}

// mayReturn reports whether the browser may be sent to a URL.
func (b *Broker) mayReturn(returnURL string) bool {
	u, err := url.Parse(returnURL)
	if err != nil || u.User != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return false
	}
	return slices.Contains(b.ReturnOrigins, strings.ToLower(u.Scheme+"://"+u.Host))
}

// A Callback is what came back with the browser (RFC 6749, section 4.1.2).
type Callback struct {
	State       string
	Code        Secret
	Issuer      string // `iss` of RFC 9207; "" if absent
	Error       string // "" if none
	RedirectURI string // where a front end says it came to; "" if it does not say
	Host        string // of the request, where it is a browser's own; else ""
	Query       Secret // of that request, undecoded; empty where a front end hands on what it got
	// Params are the further parameters of the redirect, of which a definition
	// may take some for its inputs.
	Params map[string]string
}

// A Completion is how a flow ended. ReturnURL is set even beside an error.
type Completion struct {
	View
	ReturnURL string
}

// CompleteAuthorization ends a flow on behalf of a caller who hands on what the
// browser brought.
func (b *Broker) CompleteAuthorization(ctx context.Context, caller Caller, k Callback) (Completion, error) {
	if err := b.gate(caller, VerbConnect, "callback"); err != nil {
		return Completion{}, err
	}
	return b.complete(ctx, &caller, k)
}

// CompleteRedirect ends a flow on behalf of whoever started it: the browser
// itself came, and the state is its proof.
func (b *Broker) CompleteRedirect(ctx context.Context, k Callback) (Completion, error) {
	return b.complete(ctx, nil, k)
}

// complete takes the authorization, which uses the state up whatever happens
// next, and trades the code on behalf of caller, or of whoever started the flow.
func (b *Broker) complete(ctx context.Context, caller *Caller, k Callback) (_ Completion, err error) {
	a, err := b.takeAuthorization(ctx, k)
	if err != nil {
		return Completion{}, err
	}
	out := Completion{ReturnURL: a.ReturnURL}
	if err := a.check(k); err != nil {
		return out, err
	}
	if caller == nil {
		caller = &a.StartedBy
	}
	entry, err := b.authorizeCompletion(ctx, *caller, &a)
	if err != nil {
		return out, err
	}
	captured, err := a.takeCallback(k.Params)
	if err != nil {
		return out, err
	}
	change, err := b.begin(entry)
	if err != nil {
		return out, err
	}
	defer change.end(&err)
	connection, err := b.connections.connect(ctx, a.Definition, a.Client, a.Inputs)
	if err != nil {
		return out, err
	}
	if err := b.checkIssuer(ctx, connection, k.Issuer); err != nil {
		return out, err
	}
	if err := b.hookCallback(ctx, connection, k.Query); err != nil {
		return out, err
	}
	if err := b.Store.Writable(ctx); err != nil {
		return out, err
	}
	detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), exchangeTimeout)
	defer cancel()
	a.origins = connection.Origins()
	answer, err := b.Server.Exchange(detached, connection, CodeExchange{
		Code: k.Code, RedirectURI: a.RedirectURI, Verifier: a.Verifier,
	})
	if err != nil {
		return out, err
	}
	maps.Copy(captured, answer.Captured)
	answer.Captured = captured
	out.View, err = b.keep(detached, a, answer, change)
	return out, err
}

func (b *Broker) takeAuthorization(ctx context.Context, k Callback) (Authorization, error) {
	loopback := k.Host == "" || IsLoopbackHost(k.Host)
	switch {
	case k.State == "" && !loopback:
		return Authorization{}, fmt.Errorf("host %q has no callback here: %w", k.Host, ErrForbidden)
	case k.State == "":
		return Authorization{}, fmt.Errorf("there is no state: %w", ErrInvalidState)
	}
	a, err := b.Store.TakeAuthorization(ctx, k.State)
	switch {
	case errors.Is(err, ErrNotFound) && !loopback:
		return Authorization{}, fmt.Errorf("host %q has no callback here: %w", k.Host, ErrForbidden)
	case errors.Is(err, ErrNotFound):
		return Authorization{}, fmt.Errorf("start again, this link was used or is not from here: %w", ErrInvalidState)
	case err != nil:
		return Authorization{}, fmt.Errorf("taking the authorization: %w", err)
	case !time.Now().Before(a.ExpiresAt):
		return Authorization{}, fmt.Errorf("start again, the ten minutes are over: %w", ErrInvalidState)
	}
	if redirect, err := url.Parse(a.RedirectURI); !loopback && (err != nil || !strings.EqualFold(redirect.Host, k.Host)) {
		return Authorization{}, fmt.Errorf("host %q is not that of the redirect URI: %w", k.Host, ErrForbidden)
	}
	return a, nil
}

// authorizeCompletion decides anew: since the start of the flow the policy may
// have changed, or the credential that is reconnected.
func (b *Broker) authorizeCompletion(ctx context.Context, caller Caller, a *Authorization) (AuditEntry, error) {
	if a.CredentialID == "" {
		return b.authorizeNew(caller, VerbConnect, a.subject())
	}
	s, err := b.find(ctx, caller, VerbConnect, string(a.CredentialID))
	return s.entry, err
}

// subject is what a policy looks at of the credential that a flow makes.
func (a *Authorization) subject() Subject {
	return Subject{
		Name: a.name(), Provider: a.Definition.ID, Labels: map[string]string{KeyProvider: a.Definition.ID},
	}
}

// name is that of the credential that a flow makes.
func (a *Authorization) name() string { return cmp.Or(a.CredentialName, a.Definition.Name) }

// check judges what can be judged without asking anybody.
func (a *Authorization) check(k Callback) error {
	switch {
	case k.RedirectURI != "" && k.RedirectURI != a.RedirectURI:
		return invalid("redirectUri", "is not the one that the flow was started with")
	case k.Error == "access_denied":
		return fmt.Errorf("the person or %s said no: %w", a.Definition.Name, ErrAccessDenied)
	case k.Error != "":
		return &ProviderError{Op: "authorize", Provider: a.Definition.ID, Sent: SentAnswered, Code: PlainErrorCode(k.Error)}
	case k.Code.Empty():
		return invalid("code", "is missing")
	}
	return nil
}

// checkIssuer defends against mix-up (RFC 9207, section 2.4).
func (b *Broker) checkIssuer(ctx context.Context, c Connection, got string) error {
	want, err := b.Server.IssuerCheck(ctx, c)
	switch {
	case err != nil:
		return err
	case want.Issuer == "":
		return nil
	case got == "" && want.Required:
		return invalid("iss", "%s says that it sends it, and it is missing", c.Definition.ID)
	case got != "" && got != want.Issuer:
		return invalid("iss", "the answer is not from %s", c.Definition.ID)
	}
	return nil
}

// keep stores the first tokens: in the credential that is reconnected, or a new
// one. It keeps no copy of a registered app's client.
func (b *Broker) keep(ctx context.Context, a Authorization, answer TokenResponse, k *change) (View, error) {
	now := time.Now().UTC()
	fill := func(c *Credential) error {
		a.fill(c, answer, now)
		return nil
	}
	if a.CredentialID != "" {
		view, err := b.update(ctx, a.CredentialID, fill)
		if err != nil {
			return View{}, fmt.Errorf("storing the new tokens of credential %s: %w", a.CredentialID, err)
		}
		k.made(&view.Credential)
		return view, b.keepOthers(ctx, a, view, answer.Others, k)
	}
	c := newConnection(a.Definition.ID, a.name(), now)
	if err := fill(&c); err != nil {
		return View{}, err
	}
	view, err := b.create(ctx, c)
	if err != nil {
		return View{}, err
	}
	k.made(&view.Credential)
	return view, b.keepOthers(ctx, a, view, answer.Others, k)
}

// newConnection returns a credential as a flow makes it, still empty.
func newConnection(provider, name string, now time.Time) Credential {
	return Credential{Summary: Summary{
		ID: NewID(), Name: name, Type: "http-api", AuthType: AuthOAuth2,
		Provider: provider, IsActive: true, CreatedAt: now,
	}}
}

// fill puts an answer into a credential, and with it how it was got.
func (a *Authorization) fill(c *Credential, answer TokenResponse, now time.Time) {
	if answer.Scope == "" && !answer.ScopeEmpty {
		answer.Scope = strings.Join(a.Scopes, " ") // RFC 6749, section 5.1
	}
	if !a.Definition.Refreshes() {
		answer.RefreshToken = Secret{}
	}
	c.Config, c.Origins = a.connected(c.Config), a.origins
	c.Metadata = a.describe(c.Metadata)
	c.Apply(answer, now)
}

// describe returns metadata with what the flow asked for.
func (a *Authorization) describe(metadata map[string]any) map[string]any {
	metadata = cloneObject(metadata)
	metadata[KeyProvider] = a.Definition.ID
	metadata["scopes"] = anyList(a.Scopes)
	delete(metadata, keyParams)
	if len(a.Params) > 0 {
		metadata[keyParams] = anyObject(a.Params)
	}
	return metadata
}

// connected returns config with what the flow was made with.
func (a *Authorization) connected(config Config) Config {
	fields := config.Reveal()
	fields[KeyProvider] = a.Definition.ID
	delete(fields, KeyScope) // it is granted anew
	for key, value := range map[string]string{
		KeyClientID: a.Client.ID, KeyClientSecret: a.Client.Secret.Reveal(),
		KeyPrivateKey: a.Client.PrivateKey.Reveal(), KeyPrivateKeyID: a.Client.PrivateKeyID,
		KeyCertificate: a.Client.Certificate,
	} {
		if value != "" {
			fields[key] = value
		}
	}
	if len(a.Inputs) > 0 {
		fields[KeyInputs] = anyObject(a.Inputs)
	}
	return newConfig(fields)
}

func anyList(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

func anyObject(texts map[string]string) map[string]any {
	out := make(map[string]any, len(texts))
	for name, text := range texts {
		out[name] = text
	}
	return out
}

// IsLoopbackHost reports whether a Host header (RFC 9110, section 7.2) names
// this machine's loopback.
func IsLoopbackHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
