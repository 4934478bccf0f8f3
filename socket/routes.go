package socket

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// callbackPath is where a browser comes back to.
const callbackPath = "/credentials/oauth2/callback"

// An endpoint answers a request, or returns the error to answer with.
type endpoint func(w http.ResponseWriter, r *http.Request) error

// methods are the endpoints of one path.
type methods map[string]endpoint

// routes are all paths of the full API, as patterns of [http.ServeMux].
func (s *Server) routes() map[string]methods {
	routes := map[string]methods{
		"/credentials/{ref}/token":    {"GET": s.token},
		"/credentials/{ref}/resolve":  {"GET": s.resolve},
		"/credentials/{ref}/header":   {"GET": s.header},
		"/credentials/{ref}/rejected": {"POST": s.rejected},
		"/token":                      {"GET": s.providerToken},

		"/credentials":                   {"GET": s.listCredentials, "POST": s.createCredential},
		"/credentials/{ref}":             {"GET": s.showCredential, "PUT": s.updateCredential, "PATCH": s.updateCredential, "DELETE": s.deleteCredential},
		"/credentials/{ref}/refresh":     {"POST": s.refreshCredential},
		"/credentials/{ref}/test":        {"POST": s.testCredential},
		"/credentials/{ref}/usage":       {"GET": s.usage},
		"/credentials/{ref}/track-usage": {"POST": s.trackUsage},
		"/credentials/expiring":          {"GET": s.expiring},
		"/credentials/test-request":      {"POST": s.testRequest},

		"/credentials/oauth2/providers":      {"GET": s.listProviders, "POST": s.createProvider},
		"/credentials/oauth2/providers/{id}": {"GET": s.showProvider, "PUT": s.putProvider, "DELETE": s.deleteProvider},
		"/credentials/oauth2/apps":           {"GET": s.listApps},
		"/credentials/oauth2/apps/{id}":      {"GET": s.showApp, "PUT": s.putApp, "DELETE": s.deleteApp},

		"/credentials/oauth2/start": {"POST": s.startFlow},
		callbackPath:                {"GET": s.redirectCallback, "POST": s.callback},

		"/plugins":              {"GET": s.listPlugins},
		"/plugins/{name}/trust": {"POST": s.trustPlugin, "DELETE": s.distrustPlugin},

		"/admin/backup":     {"POST": s.backup},
		"/admin/rotate-key": {"POST": s.rotateKey},
		"/events":           {"GET": s.events},
		"/status":           {"GET": s.status},
		"/version":          {"GET": s.version},
		"/openapi.json":     {"GET": s.openAPI},
	}
	maps.Copy(routes, s.monitoring())
	return routes
}

// monitoring are the paths that monitors ask. Some of them send HEAD.
func (s *Server) monitoring() map[string]methods {
	scrape := func(w http.ResponseWriter, r *http.Request) error {
		s.Metrics.ServeHTTP(w, r)
		return nil
	}
	return map[string]methods{
		"/metrics": {"GET": scrape},
		"/healthz": {"GET": s.health, "HEAD": s.health},
		"/readyz":  {"GET": s.health, "HEAD": s.health},
	}
}

// dispatch serves one path. A method that it does not have is an error of its
// own, and HEAD is not GET: a code must not be spent by a link preview.
func (s *Server) dispatch(m methods) http.Handler {
	allow := strings.Join(slices.Sorted(maps.Keys(m)), ", ")
	return s.endpoint(func(w http.ResponseWriter, r *http.Request) error {
		do, ok := m[r.Method]
		if !ok {
			w.Header().Set("Allow", allow)
			return &refusal{http.StatusMethodNotAllowed, "method_not_allowed", "this path takes " + allow, nil}
		}
		return do(w, r)
	})
}

// endpoint makes a handler of an endpoint.
func (s *Server) endpoint(do endpoint) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := do(w, r); err != nil {
			s.fail(w, r, err)
		}
	})
}

func notHere(http.ResponseWriter, *http.Request) error {
	return &refusal{http.StatusNotFound, "not_found", "there is nothing at this path", nil}
}
