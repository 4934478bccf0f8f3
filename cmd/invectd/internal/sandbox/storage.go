package sandbox

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// storage is everything the server remembers, behind the library's interfaces.
type storage struct {
	client   client
	key      signingKey
	lifetime time.Duration // of access tokens
	log      *slog.Logger

	mu       sync.Mutex
	requests map[string]*authRequest  // by ID; guarded by mu
	codes    map[string]string        // authorization codes to request IDs; guarded by mu
	devices  map[string]*device       // by device code; guarded by mu
	access   map[string]accessToken   // by the ID inside the token; guarded by mu
	refresh  map[string]*refreshToken // by the token itself, spent ones too; guarded by mu
	stats    Stats                    // guarded by mu
}

func newStorage(cfg Config) (*storage, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a signing key: %w", err)
	}
	return &storage{
		client:   client{id: "invectd-sandbox", secret: rand.Text(), redirectURIs: slices.Clone(cfg.RedirectURIs)},
		key:      signingKey{id: rand.Text(), private: key},
		lifetime: cfg.AccessTokenLifetime,
		log:      cfg.Log,
		requests: make(map[string]*authRequest),
		codes:    make(map[string]string),
		devices:  make(map[string]*device),
		access:   make(map[string]accessToken),
		refresh:  make(map[string]*refreshToken),
		stats:    Stats{TokenRequests: make(map[string]int)},
	}, nil
}

// sweep forgets what has expired. The caller holds mu.
func (s *storage) sweep(now time.Time) {
	maps.DeleteFunc(s.requests, func(_ string, r *authRequest) bool { return now.After(r.expires) })
	maps.DeleteFunc(s.codes, func(_, id string) bool { return s.requests[id] == nil })
	maps.DeleteFunc(s.devices, func(_ string, d *device) bool { return now.After(d.state.Expires) })
	maps.DeleteFunc(s.access, func(_ string, t accessToken) bool { return now.After(t.expires) })
}

// The registered client and the signing key.

func (s *storage) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	if id != s.client.id {
		return nil, oidc.ErrInvalidClient().WithDescription("the client is unknown")
	}
	return s.client, nil
}

func (s *storage) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	if id != s.client.id || subtle.ConstantTimeCompare([]byte(secret), []byte(s.client.secret)) != 1 {
		return oidc.ErrInvalidClient().WithDescription("the client is unknown or its secret is wrong")
	}
	return nil
}

func (s *storage) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	if err := s.AuthorizeClientIDSecret(ctx, id, secret); err != nil {
		return nil, err
	}
	return s.client, nil
}

func (s *storage) ClientCredentialsTokenRequest(_ context.Context, id string, scopes []string) (op.TokenRequest, error) {
	return &claims{clientID: id, subject: id, scopes: scopes}, nil
}

func (s *storage) SigningKey(context.Context) (op.SigningKey, error) { return s.key, nil }

func (s *storage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{s.key.SignatureAlgorithm()}, nil
}

func (s *storage) KeySet(context.Context) ([]op.Key, error) {
	return []op.Key{publicKey{s.key}}, nil
}

// What the library asks for and this server has none of.

var errNoClientKeys = errors.New("clients have no keys here")

func (s *storage) GetKeyByIDAndClientID(context.Context, string, string) (*jose.JSONWebKey, error) {
	return nil, errNoClientKeys
}

func (s *storage) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, errNoClientKeys
}

func (s *storage) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return nil, nil
}

func (s *storage) SetUserinfoFromScopes(context.Context, *oidc.UserInfo, string, string, []string) error {
	return nil
}

func (s *storage) TerminateSession(context.Context, string, string) error { return nil }

func (s *storage) Health(context.Context) error { return nil }
