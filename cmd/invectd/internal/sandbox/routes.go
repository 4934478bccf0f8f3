package sandbox

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	consentPath  = "/consent"
	devicePath   = "/device"
	resourcePath = "/api/me"

	maxBodyBytes = 64 << 10
)

// routes names every path and method there is. Of the library's own routes the
// callback and the end of session are left out, as the consent page answers by
// itself and keeps no session.
func (s *Server) routes() http.Handler {
	library := op.CreateRouter(s.provider)
	fromClient := s.fromClient(library)
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+oidc.DiscoveryEndpoint, s.metadata)
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", s.metadata) // RFC 8414, section 3
	mux.Handle("GET "+s.provider.KeysEndpoint().Relative(), library)
	mux.Handle("GET "+s.provider.AuthorizationEndpoint().Relative(), library)
	mux.Handle("POST "+s.provider.AuthorizationEndpoint().Relative(), library)
	mux.Handle("POST "+s.provider.TokenEndpoint().Relative(), fromClient)
	mux.Handle("POST "+s.provider.RevocationEndpoint().Relative(), fromClient)
	mux.Handle("POST "+s.provider.IntrospectionEndpoint().Relative(), fromClient)
	mux.Handle("POST "+s.provider.DeviceAuthorizationEndpoint().Relative(), fromClient)
	mux.HandleFunc("GET "+consentPath, s.showConsent)
	mux.HandleFunc("POST "+consentPath, s.takeConsent)
	mux.HandleFunc("GET "+devicePath, s.showDevice)
	mux.HandleFunc("POST "+devicePath, s.takeDevice)
	mux.HandleFunc(s.provider.UserinfoEndpoint().Relative(), s.protected(func(w http.ResponseWriter, r *http.Request, _ accessToken) {
		library.ServeHTTP(w, r)
	}))
	mux.HandleFunc("GET "+resourcePath, s.protected(showMe))
	return http.NewCrossOriginProtection().Handler(http.MaxBytesHandler(mux, maxBodyBytes))
}

// fromClient prepares what a client sends. The library takes client_secret_post
// at some endpoints only, so it is turned into client_secret_basic for all; a
// request that uses both is left for the library to refuse.
func (s *Server) fromClient(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.RawQuery = "" // RFC 6749, section 2.3.1: nothing of this belongs in a URL
		w.Header().Set("Cache-Control", "no-store")
		if err := r.ParseForm(); err != nil {
			op.RequestError(w, r, oidc.ErrInvalidRequest().WithDescription("the form is malformed"), nil)
			return
		}
		if r.URL.Path == s.provider.TokenEndpoint().Relative() {
			s.storage.countRequest(oidc.GrantType(r.PostForm.Get("grant_type")))
		}
		secret := r.PostForm.Get("client_secret")
		if secret != "" && r.Header.Get("Authorization") == "" {
			r.SetBasicAuth(url.QueryEscape(r.PostForm.Get("client_id")), url.QueryEscape(secret))
			r.Form.Del("client_secret")
			r.PostForm.Del("client_secret")
		}
		next.ServeHTTP(w, r)
	})
}

// metadata answers with what is served here (RFC 8414, section 2). The
// library's own document promises more than that, and lacks RFC 9207.
func (s *Server) metadata(w http.ResponseWriter, _ *http.Request) {
	methods := []oidc.AuthMethod{oidc.AuthMethodBasic, oidc.AuthMethodPost}
	endpoints := s.Endpoints()
	writeJSON(w, map[string]any{
		"issuer":                                         s.Issuer(),
		"authorization_endpoint":                         endpoints.Authorization,
		"token_endpoint":                                 endpoints.Token,
		"device_authorization_endpoint":                  endpoints.DeviceAuthorization,
		"revocation_endpoint":                            endpoints.Revocation,
		"introspection_endpoint":                         endpoints.Introspection,
		"userinfo_endpoint":                              endpoints.Userinfo,
		"jwks_uri":                                       s.provider.KeysEndpoint().Absolute(s.Issuer()),
		"scopes_supported":                               op.DefaultSupportedScopes,
		"response_types_supported":                       []oidc.ResponseType{oidc.ResponseTypeCode},
		"grant_types_supported":                          grantTypes,
		"subject_types_supported":                        op.SubjectTypes(s.provider),
		"id_token_signing_alg_values_supported":          []string{string(s.storage.key.SignatureAlgorithm())},
		"token_endpoint_auth_methods_supported":          methods,
		"revocation_endpoint_auth_methods_supported":     methods,
		"introspection_endpoint_auth_methods_supported":  methods,
		"code_challenge_methods_supported":               op.CodeChallengeMethods(s.provider),
		"authorization_response_iss_parameter_supported": true,
	})
}

// protected asks for a live access token (RFC 6750, sections 2.1 and 3).
func (s *Server) protected(next func(http.ResponseWriter, *http.Request, accessToken)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		scheme, credential, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") {
			w.Header().Set("WWW-Authenticate", `Bearer realm="sandbox"`)
			http.Error(w, "an access token is needed", http.StatusUnauthorized)
			return
		}
		// Inside an opaque token the library puts its ID and subject. One that
		// does not decrypt has no ID, which is never live.
		inside, _ := s.provider.Crypto().Decrypt(credential)
		id, _, _ := strings.Cut(inside, ":")
		token, err := s.storage.live(id)
		if err != nil {
			w.Header().Set("WWW-Authenticate", `Bearer realm="sandbox", error="invalid_token"`)
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		next(w, r, token)
	}
}

// showMe answers with what the access token stands for.
func showMe(w http.ResponseWriter, _ *http.Request, token accessToken) {
	writeJSON(w, map[string]any{
		"subject":   token.subject,
		"clientId":  token.clientID,
		"scopes":    token.scopes,
		"expiresAt": token.expires.UTC(),
	})
}

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(value)
}
