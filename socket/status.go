package socket

import (
	"context"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/invectd/invectd/socket/client"
)

// A watch remembers since when something has been failing.
type watch struct {
	mu    sync.Mutex
	since time.Time // guarded by mu; zero while all is well
}

// note takes down what a check found, and returns since when it fails.
func (w *watch) note(failed bool, now time.Time) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !failed:
		w.since = time.Time{}
	case w.since.IsZero():
		w.since = now
	}
	return w.since
}

// checkStore returns since when the store cannot be written; zero if it can.
func (s *Server) checkStore(ctx context.Context) time.Time {
	return s.store.note(s.Health(ctx) != nil, time.Now())
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) error {
	census, err := s.Broker.Census(callerOf(r.Context()))
	if err != nil {
		return err
	}
	failing := s.checkStore(r.Context())
	out := client.Status{
		Version:       s.Version,
		UptimeSeconds: int64(time.Since(s.started) / time.Second),
		Listeners:     s.Listeners(),
		Store:         client.StoreStatus{Writable: failing.IsZero()},
		Credentials:   make(map[string]int, len(census.Credentials)),
		Providers:     census.Providers,
		Problems:      []client.Problem{},
	}
	for status, count := range census.Credentials {
		out.Credentials[string(status)] = count
	}
	if !failing.IsZero() {
		out.Problems = append(out.Problems, client.Problem{
			What:  "the store cannot be written, so no token is refreshed",
			Since: wireTime(failing),
			Todo:  "free space on the disk of the data folder, and read the log",
		})
	}
	return answer(w, http.StatusOK, out)
}

// healthz tells whether the process answers. It checks nothing more, since who
// asks restarts it otherwise, which helps neither a full disk nor a provider.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, http.StatusOK, client.Health{Status: "ok", Checks: map[string]string{}})
}

// readyz tells whether all work can be done.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) error {
	if s.checkStore(r.Context()).IsZero() {
		return answer(w, http.StatusOK, client.Health{Status: "ok", Checks: map[string]string{"store": "ok"}})
	}
	w.Header().Set("Retry-After", "1")
	return answer(w, http.StatusServiceUnavailable, client.Health{
		Status: "unavailable", Checks: map[string]string{"store": "unavailable"},
		Error: "the store cannot be written", Code: "store_unavailable",
	})
}

func (s *Server) version(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, http.StatusOK, client.Version{Version: s.Version, Go: runtime.Version()})
}
