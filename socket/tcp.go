package socket

import (
	"net"
	"net/http"

	"github.com/invectd/invectd/broker"
)

// Anybody on the machine, and any page in a browser there, can send requests to
// the TCP listeners; so they answer a handful of them, and none with a body. That
// also leaves nothing for a request to be smuggled in (RFC 9112, section 11.2).
var (
	errBody = &refusal{http.StatusBadRequest, codeInvalidRequest, "requests here have no body", nil}
	errHost = &refusal{http.StatusForbidden, codeForbidden, "on a loopback address this is answered under the names of loopback alone, such as localhost or 127.0.0.1", nil}
)

// CallbackHandler serves the browser's redirect over TCP, and nothing else. Which
// Host it may have depends on the flow, see [broker.Broker.CompleteRedirect].
func (s *Server) CallbackHandler() http.Handler {
	return s.only(map[string]methods{callbackPath: {"GET": s.redirectCallback}}, anyHost)
}

// MetricsHandler serves monitors over TCP, and nothing else. On a loopback address
// it wants a Host that is loopback: a page whose name was made to point there has
// another (DNS rebinding). On other addresses monitors come by whatever name or
// address the network has for the machine, and any is taken.
func (s *Server) MetricsHandler() http.Handler { return s.only(s.monitoring(), checkMonitorHost) }

func checkMonitorHost(r *http.Request) error {
	c := connectionOf(r.Context())
	// No browser leaves Host out, and HTTP/1.0 health checks do.
	if c != nil && c.accounts.loopback && r.Host != "" && !broker.IsLoopbackHost(r.Host) {
		return errHost
	}
	return nil
}

// anyHost leaves the judgement to the endpoint.
func anyHost(*http.Request) error { return nil }

// only serves exact paths, under a Host that checkHost lets pass.
func (s *Server) only(routes map[string]methods, checkHost func(*http.Request) error) http.Handler {
	handlers := make(map[string]http.Handler, len(routes))
	for path, m := range routes {
		handlers[path] = s.dispatch(m)
	}
	return s.guard(s.endpoint(func(w http.ResponseWriter, r *http.Request) error {
		forbidPages(w.Header())
		if r.ContentLength != 0 {
			w.Header().Set("Connection", "close")
			return errBody
		}
		if err := checkHost(r); err != nil {
			return err
		}
		h, ok := handlers[r.URL.EscapedPath()]
		if !ok {
			return notHere(w, r)
		}
		h.ServeHTTP(w, r)
		return nil
	}))
}

// forbidPages says that no page may show, frame, load or learn of an answer.
func forbidPages(header http.Header) {
	header.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// isLoopback reports whether an address takes connections from this machine
// alone.
func isLoopback(address net.Addr) bool {
	tcp, ok := address.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}
