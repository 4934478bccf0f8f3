package socket

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// callbackPath is where a browser comes back to.
const callbackPath = "/credentials/oauth2/callback"

// devicePath is where device grants begin.
const devicePath = "/credentials/oauth2/device"

// An endpoint answers a request, or returns the error to answer with.
type endpoint func(w http.ResponseWriter, r *http.Request) error

// methods are the endpoints of one path.
type methods map[string]endpoint

// routes are all paths of the full API, as patterns of [http.ServeMux].
func (s *Server) routes() map[string]methods {
	routes := map[string]methods{
		"/credentials":                   {"GET": s.listCredentials, "POST": s.createCredential},
		"/credentials/{ref}":             {"GET": s.showCredential, "PUT": s.updateCredential, "PATCH": s.updateCredential, "DELETE": s.deleteCredential},
		"/credentials/{ref}/refresh":     {"POST": s.refreshCredential},
		"/credentials/{ref}/test":        {"POST": s.testCredential},
		"/credentials/{ref}/usage":       {"GET": s.usage},
		"/credentials/{ref}/track-usage": {"POST": s.trackUsage},
		"/credentials/expiring":          {"GET": s.expiring},
		"/credentials/test-request":      {"POST": s.testRequest},

		"/credentials/oauth2/providers":             {"GET": s.listProviders, "POST": s.createProvider},
		"/credentials/oauth2/providers/schema":      {"GET": s.providerSchema},
		"/credentials/oauth2/providers/{id}":        {"GET": s.showProvider, "PUT": s.putProvider, "DELETE": s.deleteProvider},
		"/credentials/oauth2/providers/{id}/accept": {"POST": s.acceptProvider},
		"/credentials/oauth2/apps":                  {"GET": s.listApps},
		"/credentials/oauth2/apps/{id}":             {"GET": s.showApp, "PUT": s.putApp, "DELETE": s.deleteApp},

		"/credentials/oauth2/start": {"POST": s.startFlow},
		callbackPath:                {"GET": s.redirectCallback, "POST": s.callback},
		devicePath:                  {"POST": s.startDevice},
		devicePath + "/{id}":        {"GET": s.deviceFlow},

		"/grants":      {"GET": s.listGrants, "POST": s.createGrant},
		"/grants/{id}": {"GET": s.showGrant, "DELETE": s.deleteGrant},

		"/plugins":              {"GET": s.listPlugins},
		"/plugins/{name}/trust": {"POST": s.trustPlugin, "DELETE": s.distrustPlugin},

		"/admin/backup":     {"POST": s.backup},
		"/admin/rotate-key": {"POST": s.rotateKey},
		"/events":           {"GET": s.events},
		"/policy":           {"GET": s.showPolicy},
		"/policy/test":      {"POST": s.testPolicy},
		"/status":           {"GET": s.status},
		"/openapi.json":     {"GET": s.openAPI},
	}
	maps.Copy(routes, s.runnerRoutes())
	maps.Copy(routes, s.monitoring())
	return routes
}

// runnerRoutes are all paths of the runners' socket.
func (s *Server) runnerRoutes() map[string]methods {
	routes := map[string]methods{
		"/credentials/{ref}/token":    {"GET": s.token},
		"/credentials/{ref}/resolve":  {"GET": s.resolve},
		"/credentials/{ref}/header":   {"GET": s.header},
		"/credentials/{ref}/rejected": {"POST": s.rejected},
		"/token":                      {"GET": s.providerToken},
		"/version":                    {"GET": s.version},
	}
	maps.Copy(routes, s.probes())
	return routes
}

// monitoring are the paths that monitors ask.
func (s *Server) monitoring() map[string]methods {
	scrape := func(w http.ResponseWriter, r *http.Request) error {
		s.Metrics.ServeHTTP(w, r)
		return nil
	}
	routes := s.probes()
	routes["/metrics"] = methods{"GET": scrape}
	return routes
}

// probes tell how the daemon is. Some of those who ask send HEAD.
func (s *Server) probes() map[string]methods {
	return map[string]methods{
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
		if !pay(r, cost(r)) {
			return errTooOften
		}
		if costs[r.Pattern] > 0 {
			connectionOf(r.Context()).giveTurn() // others need not wait until a provider has answered
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

func notForRunners(http.ResponseWriter, *http.Request) error {
	return &refusal{http.StatusNotFound, "not_found", "there is nothing at this path: this socket is the runners', which has token, resolve, header and rejected alone", nil}
}

func notHere(http.ResponseWriter, *http.Request) error {
	return &refusal{http.StatusNotFound, "not_found", "there is nothing at this path", nil}
}
