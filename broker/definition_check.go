package broker

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

var (
	definitionID = regexp.MustCompile(`\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\z`)
	inputName    = regexp.MustCompile(`\A[A-Za-z_][A-Za-z0-9_]*\z`)
	headerName   = regexp.MustCompile("\\A[A-Za-z0-9!#$%&'*+.^_`|~-]+\\z") // token of RFC 9110, section 5.6.2
)

// maxTextLength bounds what people are shown in a list, in characters.
const maxTextLength = 500

// reservedIDs are those that the API uses in the place of an id.
var reservedIDs = []string{"schema"}

// knownGrants are those that a definition may list: of RFC 6749, RFC 8628, RFC
// 7523 and RFC 8693.
var knownGrants = []GrantType{
	GrantAuthorizationCode, GrantRefreshToken, GrantClientCredentials,
	GrantDeviceCode, GrantJWTBearer, GrantTokenExchange,
}

// Check returns nil if the definition can be used as it stands, else an
// [*InvalidError] that names every field to mend and how.
func (d *Definition) Check(allowed Addresses) error {
	c := definitionCheck{d: d, allowed: allowed}
	c.basics()
	c.scopes()
	c.urls()
	c.choices()
	c.authorization()
	c.requests()
	c.lookup()
	c.revocation()
	c.response()
	c.inputs()
	if len(c.fields) == 0 {
		return nil
	}
	slices.SortStableFunc(c.fields, func(a, b FieldError) int { return cmp.Compare(a.Path, b.Path) })
	first := c.fields[0]
	return &InvalidError{
		Message: fmt.Sprintf("provider definition %q: %s: %s", d.ID, first.Path, first.Message),
		Fields:  c.fields,
	}
}

type definitionCheck struct {
	d       *Definition
	allowed Addresses
	fields  []FieldError
}

func (c *definitionCheck) bad(path, format string, args ...any) {
	c.fields = append(c.fields, FieldError{path, fmt.Sprintf(format, args...)})
}

func (c *definitionCheck) basics() {
	d := c.d
	if !definitionID.MatchString(d.ID) {
		c.bad("id", "give 1 to 64 letters, digits, dots, dashes or underscores, beginning with a letter or digit")
	} else if slices.Contains(reservedIDs, d.ID) {
		c.bad("id", "%q has a meaning of its own in the API; choose another", d.ID)
	}
	if strings.TrimSpace(d.Name) == "" {
		c.bad("name", "give the name that a person knows the provider by")
	}
	for path, text := range map[string]string{"name": d.Name, "description": d.Description, "icon": d.Icon, "category": d.Category} {
		c.text(path, text)
	}
	if d.Issuer == "" && d.TokenURL == "" {
		c.bad("tokenUrl", "give the token endpoint, or an issuer to discover it from")
	}
	if d.Issuer == "" && d.AuthorizationURL == "" && c.grants(GrantAuthorizationCode) {
		c.bad("authorizationUrl", "give the authorization endpoint, or an issuer to discover it from")
	}
	for name, input := range d.Inputs {
		c.text("inputs."+name+".label", input.Label)
	}
	for name := range d.AdditionalAuthParams {
		if IsProtocolParam(name) {
			c.bad("additionalAuthParams."+name, "is a parameter of the protocol itself and set by the flow")
		}
	}
}

// text checks what people are shown, on terminals too, which obey control
// characters.
func (c *definitionCheck) text(path, text string) {
	if utf8.RuneCountInString(text) > maxTextLength {
		c.bad(path, "is longer than %d characters", maxTextLength)
	}
	if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		c.bad(path, "has control characters")
	}
}

func (c *definitionCheck) scopes() {
	for path, scopes := range map[string][]string{"defaultScopes": c.d.DefaultScopes, "requiredScopes": c.d.RequiredScopes} {
		for i, scope := range scopes {
			if !printable(scope) {
				c.bad(path, "scope %d is empty or has control characters or spaces", i+1)
			}
		}
	}
}

func (c *definitionCheck) grants(g GrantType) bool {
	return c.d.GrantTypes == nil || slices.Contains(c.d.GrantTypes, g)
}

func (c *definitionCheck) choices() {
	d := c.d
	c.choice("pkce", string(d.PKCE), "optional", "required", "none")
	c.choice("clientAuthentication", string(d.ClientAuthentication), string(ClientSecretBasic), string(ClientSecretPost),
		string(ClientSecretJWT), string(PrivateKeyJWT), string(TLSClientAuth), string(ClientAuthNone))
	c.choice("tokenRequest.format", d.TokenRequest.Format, "form", "json", "query")
	c.choice("refreshRequest.format", d.RefreshRequest.Format, "form", "json", "query")
	c.choice("longLivedRequest.format", d.LongLivedRequest.Format, "form", "json", "query")
	c.choice("refresh.rotation", d.Refresh.Rotation, "always", "never", "sometimes")
	if d.Identity != nil {
		c.choice("identity.method", d.Identity.Method, "GET", "POST")
	}
	for _, grant := range d.GrantTypes {
		if !slices.Contains(knownGrants, grant) {
			c.bad("grantTypes", "%q is unknown; give one of %v", grant, knownGrants)
		}
	}
}

func (c *definitionCheck) choice(path, value string, among ...string) {
	if value != "" && !slices.Contains(among, value) {
		c.bad(path, "%q is unknown; give one of %s", value, strings.Join(among, ", "))
	}
}

// requests checks the methods of requests, and the headers that they carry: one
// that HTTP does not allow would fail every request.
func (c *definitionCheck) requests() {
	for path, request := range map[string]TokenRequest{
		"tokenRequest": c.d.TokenRequest, "refreshRequest": c.d.RefreshRequest, "longLivedRequest": c.d.LongLivedRequest,
	} {
		c.choice(path+".method", request.Method, "POST", "GET")
		if request.Method == "GET" && request.Format != "query" {
			c.bad(path+".format", "has to be query, since a GET has no body")
		}
	}
	if long := c.d.LongLivedRequest; !reflect.ValueOf(long).IsZero() && long.URL == "" {
		c.bad("longLivedRequest.url", "give the URL that trades a token for the one to keep")
	}
	headers := map[string]map[string]string{
		"tokenRequest.headers": c.d.TokenRequest.Headers, "refreshRequest.headers": c.d.RefreshRequest.Headers,
		"revocationRequest.headers": c.d.RevocationRequest.Headers, "longLivedRequest.headers": c.d.LongLivedRequest.Headers,
	}
	if c.d.Lookup != nil {
		headers["lookup.headers"] = c.d.Lookup.Headers
	}
	if c.d.Identity != nil {
		headers["identity.headers"] = c.d.Identity.Headers
	}
	for path, fields := range headers {
		for name, value := range fields {
			if !headerName.MatchString(name) || strings.ContainsFunc(value, unicode.IsControl) {
				c.bad(path, "%q is no header that HTTP allows, or its value has control characters", name)
			}
		}
	}
}

// revocation checks that a revocation has somewhere to go, and cannot take an
// outage for a success.
func (c *definitionCheck) revocation() {
	r := c.d.RevocationRequest
	if !reflect.ValueOf(r).IsZero() && c.d.RevocationURL == "" && c.d.Issuer == "" {
		c.bad("revocationUrl", "give the URL that revocationRequest is for")
	}
	c.choice("revocationRequest.method", r.Method, "POST", "DELETE")
	c.choice("revocationRequest.format", r.Format, "form", "json", "query")
	c.choice("revocationRequest.clientAuthentication", string(r.ClientAuthentication),
		string(ClientSecretBasic), string(ClientSecretPost), string(ClientAuthNone), string(ClientAuthBearer))
	c.choice("revocationRequest.token", r.Token, RevokeAccessToken, RevokeRefreshToken, RevokeBoth)
	if r.ClientAuthentication == ClientAuthBearer && r.Token == "" {
		c.bad("revocationRequest.token", "say which token authenticates, since few providers take a refresh token for that")
	}
	for _, sign := range r.Gone {
		isStatus := len(sign) == 3 && strings.Trim(sign, "0123456789") == ""
		if !printable(sign) || isStatus && (sign[0] != '4' || sign == "429") {
			c.bad("revocationRequest.gone", "%q is no error code and no HTTP status that says so; give one like token_revoked or 404", sign)
		}
	}
}

func (c *definitionCheck) response() {
	shape := c.d.TokenResponse
	for name, paths := range map[string]Paths{
		"accessToken": shape.AccessToken, "refreshToken": shape.RefreshToken, "expiresIn": shape.ExpiresIn, "expiresAt": shape.ExpiresAt,
		"scope": shape.Scope, "errorCode": shape.ErrorCode, "errorDescription": shape.ErrorDescription,
	} {
		if slices.Contains(paths, "") {
			c.bad("tokenResponse."+name, "give the path of a field, like data.access_token")
		}
	}
	if shape.Success != nil && shape.Success.Path == "" {
		c.bad("tokenResponse.success.path", "give the path of a field, like ok")
	}
	if shape.DefaultExpiresIn < 0 {
		c.bad("tokenResponse.defaultExpiresIn", "give a number of seconds, not below zero")
	}
	c.capture("tokenResponse.capture", shape.Capture)
}

func (c *definitionCheck) inputs() {
	for _, name := range slices.Sorted(maps.Keys(c.d.Inputs)) {
		input := c.d.Inputs[name]
		if !isInputName(name) {
			c.bad("inputs."+name, "is no usable name; give letters, digits and underscores, but not %s", strings.Join(ownNames, ", "))
		}
		_, err := wholePattern(input.Pattern)
		switch {
		case err != nil:
			c.bad("inputs."+name+".pattern", "is no regular expression of RE2")
		case input.Default != "" && !input.accepts(input.Default):
			c.bad("inputs."+name+".default", "%s", input.wanted())
		case slices.Contains(input.Enum, ""):
			c.bad("inputs."+name+".enum", "has an empty value")
		case input.Callback != "" && (IsProtocolParam(input.Callback) || input.Callback == "iss" || input.Callback == "error"):
			c.bad("inputs."+name+".callback", "%q is a parameter of the protocol itself", input.Callback)
		}
	}
	for _, name := range c.d.freeHosts() {
		if c.d.Inputs[name].Callback != "" {
			c.bad("inputs."+name+".enum", "is needed: what a browser brings may choose a host only among those that are listed")
		}
	}
}

// ownNames are placeholders that have a meaning of their own.
var ownNames = []string{"client_id", "access_token", "random"}

func isInputName(name string) bool {
	return inputName.MatchString(name) && !slices.Contains(ownNames, name)
}

func (c *definitionCheck) capture(path string, fields map[string]string) {
	for name, from := range fields {
		if !isInputName(name) || from == "" {
			c.bad(path, "%q has to be of letters, digits and underscores, and to have a path", name)
		}
	}
}

// authorization checks what is said of the authorization URL. The state keeps
// its name, since it comes back under it.
func (c *definitionCheck) authorization() {
	for name, to := range c.d.AuthorizationRequest.Rename {
		path := "authorizationRequest.rename." + name
		c.choice(path, name, "client_id", "redirect_uri", "response_type", "scope")
		if !printable(to) || IsProtocolParam(to) {
			c.bad(path, "%q is no name of the vendor's own", to)
		}
	}
	if slices.Contains(strings.Fields(c.d.AuthorizationRequest.ResponseType), "token") {
		c.bad("authorizationRequest.responseType", "asks for the implicit grant, whose tokens pass through the browser; ask for a code") // RFC 9700, section 2.1.2
	}
}

func (c *definitionCheck) lookup() {
	if c.d.Lookup == nil {
		return
	}
	if len(c.d.Lookup.Capture) == 0 {
		c.bad("lookup.capture", "say what of the answer is kept, like {tenant_id: 0.id}")
	}
	c.capture("lookup.capture", c.d.Lookup.Capture)
}

// IsProtocolParam reports whether name is a parameter of RFC 6749 or RFC 7636,
// which only the flow itself may set.
func IsProtocolParam(name string) bool {
	switch name {
	case "response_type", "client_id", "client_secret", "redirect_uri", "scope", "state", "code",
		"grant_type", "refresh_token", "access_token", "username", "password",
		"code_challenge", "code_challenge_method", "code_verifier":
		return true
	}
	return false
}

func printable(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || unicode.IsControl(r) })
}
