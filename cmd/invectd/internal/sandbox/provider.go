package sandbox

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	httphelper "github.com/zitadel/oidc/v3/pkg/http"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// provider is the library's provider, but for what it overrides.
type provider struct {
	*op.Provider
	issuer string
	client client
}

func newProvider(issuer string, s *storage) (provider, error) {
	var key [32]byte
	rand.Read(key[:])
	config := &op.Config{
		CodeMethodS256:        true,
		AuthMethodPost:        true,
		GrantTypeRefreshToken: true,
		DeviceAuthorization: op.DeviceAuthorizationConfig{
			Lifetime:     consentTime,
			PollInterval: time.Second,
			UserFormPath: devicePath,
			UserCode:     op.UserCodeBase20,
		},
	}
	library, err := op.NewProvider(config, s, op.StaticIssuer(issuer),
		op.WithAllowInsecure(),
		op.WithCORSOptions(nil),
		op.WithCrypto(op.NewAES256GCMCrypto(key, "sandbox")),
		op.WithIDTokenHintVerifierOpts(op.WithSupportedIDTokenHintSigningAlgorithms(string(s.key.SignatureAlgorithm()))),
	)
	if err != nil {
		return provider{}, fmt.Errorf("setting up the provider: %w", err)
	}
	return provider{Provider: library, issuer: issuer, client: s.client}, nil
}

// ValidateAuthRequest checks an authorization request. It differs from the
// library's own check in two points: the client, though it keeps a secret, may
// be a native application that picks a free port (RFC 8252, section 7.3), and
// the only PKCE method is S256 (RFC 9700, section 2.1.1).
func (p provider) ValidateAuthRequest(ctx context.Context, r *oidc.AuthRequest, _ op.Storage, verifier *op.IDTokenHintVerifier) (string, error) {
	if r.ClientID != p.client.id {
		return "", oidc.ErrInvalidRequestRedirectURI().WithDescription("the client is unknown")
	}
	subject, err := op.ValidateAuthRequestClient(ctx, r, nativeClient{p.client}, verifier)
	if err != nil {
		return "", err
	}
	if r.CodeChallenge != "" && r.CodeChallengeMethod != oidc.CodeChallengeMethodS256 {
		return "", oidc.ErrInvalidRequest().WithDescription("code_challenge_method has to be S256")
	}
	return subject, nil
}

// GrantTypeJWTAuthorizationSupported is false: the client has no key registered.
func (p provider) GrantTypeJWTAuthorizationSupported() bool { return false }

// Encoder returns the encoder of authorization responses, of successful ones
// and of errors, which adds the issuer to each (RFC 9207, section 2).
func (p provider) Encoder() httphelper.Encoder {
	return issuerEncoder{p.Provider.Encoder(), p.issuer}
}

type issuerEncoder struct {
	httphelper.Encoder
	issuer string
}

func (e issuerEncoder) Encode(response any, parameters map[string][]string) error {
	if err := e.Encoder.Encode(response, parameters); err != nil {
		return err
	}
	parameters["iss"] = []string{e.issuer}
	return nil
}
