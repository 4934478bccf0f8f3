package broker

import (
	"context"
	"encoding/pem"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// grantTypes are those that credentials may name, in the order of the contract.
var grantTypes = []GrantType{
	GrantAuthorizationCode, GrantRefreshToken, GrantClientCredentials, GrantDeviceCode, GrantJWTBearer, GrantTokenExchange,
}

func grantTypeOf(config Config) GrantType {
	if g := config.Text(KeyGrantType); g != "" {
		return GrantType(g)
	}
	return GrantAuthorizationCode
}

// Repeats reports whether the next token is had as the first one was, without a
// person and without a refresh token.
func (g GrantType) Repeats() bool {
	switch g {
	case GrantClientCredentials, GrantJWTBearer, GrantTokenExchange:
		return true
	}
	return false
}

// accessTokenType is what a subject or actor token is where nobody says (RFC
// 8693, section 3).
const accessTokenType = "urn:ietf:params:oauth:token-type:access_token"

// Assertion returns what the assertion of a credential says.
func (c *Credential) Assertion(scopes []string) Assertion {
	return Assertion{
		Issuer:   c.Config.Text(KeyIssuer),
		Subject:  c.Config.Text(KeySubject),
		Audience: c.Config.Text(KeyAudience),
		Claims:   c.Config.object(KeyClaims),
		Scopes:   scopes,
	}
}

// TokenExchange returns what a credential trades for its token. The subject
// token is to be filled in where [Credential.SubjectID] names another credential.
func (c *Credential) TokenExchange(scopes []string) TokenExchange {
	typeOf := func(key string) string {
		if t := c.Config.Text(key); t != "" {
			return t
		}
		return accessTokenType
	}
	x := TokenExchange{
		SubjectToken:       c.Config.Secret(KeySubjectToken),
		SubjectTokenType:   typeOf(KeySubjectTokenType),
		RequestedTokenType: c.Config.Text(KeyRequestedTokenType),
		Audience:           c.Config.Text(KeyAudience),
		Resource:           c.Config.Text(KeyResource),
		Scopes:             scopes,
	}
	if x.ActorToken = c.Config.Secret(KeyActorToken); !x.ActorToken.Empty() {
		x.ActorTokenType = typeOf(KeyActorTokenType)
	}
	return x
}

// SubjectID returns the credential whose token is the subject token of an
// exchange; "" if there is none.
func (c *Credential) SubjectID() ID {
	if c.GrantType() != GrantTokenExchange {
		return ""
	}
	return ID(c.Config.Text(KeySubjectCredentialID))
}

// settleSubject looks up the credential whose token a new one is going to trade:
// its creator has to be one of those who may read it. It cannot be one that does
// the same, so that no two wait for each other.
func (b *Broker) settleSubject(ctx context.Context, caller Caller, c *Credential) error {
	ref := string(c.SubjectID())
	if ref == "" {
		return nil
	}
	const path = "config." + KeySubjectCredentialID
	s, err := b.find(ctx, caller, VerbToken, ref)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	subject, err := b.Store.Get(ctx, s.ID)
	switch {
	case err != nil:
		return fmt.Errorf("reading credential %q: %w", s.Name, err)
	case subject.AuthType != AuthOAuth2 && subject.AuthType != AuthBearer:
		return invalid(path, "credential %q is of type %s and has no token to exchange", s.Name, s.AuthType)
	case subject.SubjectID() != "":
		return invalid(path, "credential %q trades the token of another one itself; name that one", s.Name)
	}
	c.Config = c.Config.With(KeySubjectCredentialID, string(s.ID))
	return nil
}

// ownClaims are those of an assertion that have keys of their own, or are made
// for each one.
var ownClaims = []string{"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "scope"}

// checkGrant checks what the grant of an OAuth2 credential needs.
func checkGrant(config Config) error {
	g := grantTypeOf(config)
	if !slices.Contains(grantTypes, g) {
		return invalid("config."+KeyGrantType, "%q is not supported; give one of %s", g, joined(grantTypes))
	}
	switch g {
	case GrantJWTBearer:
		return checkAssertion(config)
	case GrantTokenExchange:
		return checkExchange(config)
	}
	return nil
}

func joined(list []GrantType) string {
	names := make([]string, len(list))
	for i, g := range list {
		names[i] = string(g)
	}
	return strings.Join(names, ", ")
}

// checkAssertion checks what is to be signed, and the key if there is one: a
// registered app may have it.
func checkAssertion(config Config) error {
	key := config.Text(KeyPrivateKey)
	own := config.Text(KeyClientID) != "" || config.Text(KeyIssuer) != ""
	if block, _ := pem.Decode([]byte(key)); block == nil && (own || key != "") {
		return invalid("config."+KeyPrivateKey, "give the PEM key that signs the assertion")
	}
	if key != "" && !own {
		return invalid("config."+KeyClientID, "say who signs the assertion, here or as issuer")
	}
	for name := range maps.Keys(config.object(KeyClaims)) {
		if slices.Contains(ownClaims, name) {
			return invalid("config."+KeyClaims+"."+name, "is set by the broker; there are issuer, subject, audience and scope for that")
		}
	}
	return nil
}

func checkExchange(config Config) error {
	hasToken, hasReference := config.Text(KeySubjectToken) != "", config.Text(KeySubjectCredentialID) != ""
	if hasToken == hasReference {
		return invalid("config."+KeySubjectToken, "give the token to exchange, or in subjectCredentialId the credential that has it")
	}
	for _, key := range []string{KeySubjectTokenType, KeyActorTokenType, KeyRequestedTokenType, KeyResource} {
		if text := config.Text(key); text != "" && !isAbsoluteURI(text) {
			return invalid("config."+key, "give a URI, for types one such as %s", accessTokenType)
		}
	}
	return nil
}

func isAbsoluteURI(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.IsAbs() && printable(text)
}

// withServiceAccount returns config with the fields of a Google service account's
// key file, which may be the whole config, turned into those of a grant by
// assertion. token_uri is the audience that Google wants.
func withServiceAccount(config Config) Config {
	if config.Text("type") != "service_account" || config.Text("client_email") == "" {
		return config
	}
	fields := config.Reveal()
	for key, from := range map[string]string{
		KeyClientID: "client_email", KeyPrivateKey: "private_key", KeyPrivateKeyID: "private_key_id", KeyAudience: "token_uri",
	} {
		if value := fields[from]; value != nil {
			fields[key] = value
		}
	}
	for _, name := range []string{
		"type", "project_id", "private_key_id", "private_key", "client_email", "client_id", "auth_uri", "token_uri",
		"auth_provider_x509_cert_url", "client_x509_cert_url", "universe_domain",
	} {
		delete(fields, name)
	}
	fields[KeyGrantType] = string(GrantJWTBearer)
	return newConfig(fields)
}

// requestKeys are those of the config that make the request for a token another
// one, beside the grant itself.
var requestKeys = []string{
	KeyClientID, KeyClientSecret, KeyPrivateKey, KeyPrivateKeyID, KeyCertificate, KeyIssuer, KeySubject, KeyAudience,
	KeySubjectToken, KeyActorToken,
}

// sameRequest reports whether two configs ask for a token in the same way, so
// that what failed with one fails with the other.
func sameRequest(a, b Config) bool {
	return !slices.ContainsFunc(requestKeys, func(key string) bool { return !a.Secret(key).Equal(b.Secret(key)) })
}
