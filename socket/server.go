package socket

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path"
	"runtime/debug"
	"sync"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second // of a whole request; a handler may wait longer
	idleTimeout   = 2 * time.Minute
	// Anybody on the machine may connect over TCP. There it is few connections
	// that are not kept long, so that descriptors are left for the store.
	tcpIdleTimeout = 5 * time.Second
	tcpConnections = 64
	// writeTimeout bounds a whole answer, and so has to be longer than [maxWait].
	writeTimeout   = 3 * time.Minute
	maxHeaderBytes = 16 << 10
	// stopTimeout is how long requests may take to end once the daemon stops. A
	// code that is being exchanged has to reach the store, for which the broker
	// allows itself 30 seconds.
	stopTimeout = 35 * time.Second
	lastWords   = 500 * time.Millisecond // for refusals, after that
)

// Config is what a [Server] is made of. All fields are needed but Limits and
// Refused.
type Config struct {
	Broker  *broker.Broker
	Version string
	Metrics http.Handler // answers a scrape
	// Listeners returns the addresses as they are, for /status.
	Listeners func() map[string]string
	// Health returns why the store cannot be written now, or nil.
	Health func(ctx context.Context) error
	// Condition returns how the store is otherwise.
	Condition func() StoreCondition
	// Audit tells how the audit log is.
	Audit  func() client.AuditStatus
	Limits Limits // the zero value is the default
	// Refused counts an answer of 429 by its reason, one of [RefusalReasons]; it may
	// be nil.
	Refused func(reason string)
	Log     *slog.Logger
}

// A Server answers requests. One serves any number of listeners, until it stops
// for good.
type Server struct {
	Config
	started  time.Time
	problems *problems
	accounts *accounts // on the Unix sockets

	serving  sync.RWMutex  // held for reading by every request, for writing from the stop on
	stopping chan struct{} // closed when the stop begins
	drained  chan struct{} // closed when all requests in flight at the stop are answered
	drain    func()        // begins the stop, once
}

// New returns a Server.
func New(c Config) *Server {
	if c.Refused == nil {
		c.Refused = func(string) {}
	}
	s := &Server{Config: c, started: time.Now(), problems: newProblems(), accounts: newAccounts(c.Limits), stopping: make(chan struct{}), drained: make(chan struct{})}
	s.drain = sync.OnceFunc(func() {
		close(s.stopping)
		go func() {
			s.serving.Lock()
			close(s.drained)
		}()
	})
	return s
}

// Handler serves the full API to peers on a Unix socket.
func (s *Server) Handler() http.Handler { return s.serveMux(s.routes(), notHere) }

// serveMux serves paths, and all others with otherwise.
func (s *Server) serveMux(routes map[string]methods, otherwise endpoint) http.Handler {
	mux := http.NewServeMux()
	for pattern, m := range routes {
		mux.Handle(pattern, s.dispatch(m))
	}
	mux.Handle("/", s.endpoint(otherwise))
	return s.guard(s.limited(s.endpoint(func(w http.ResponseWriter, r *http.Request) error {
		if fromBrowser(r) {
			return errFromBrowser
		}
		// ServeMux would send such a request on to the path that it thinks is meant.
		escaped := r.URL.EscapedPath()
		if clean := path.Clean(escaped); clean != escaped && clean+"/" != escaped {
			return otherwise(w, r)
		}
		r, err := s.withGrant(r)
		if err != nil {
			return err
		}
		mux.ServeHTTP(w, r)
		return nil
	})))
}

// A runnerHandler serves peers to whom only the policy gives anything.
type runnerHandler struct{ http.Handler }

// RunnerHandler serves the runners' endpoints to peers on a Unix socket, and
// nothing else. Nobody is special there, neither root nor the daemon's own user.
func (s *Server) RunnerHandler() http.Handler {
	return runnerHandler{s.serveMux(s.runnerRoutes(), notForRunners)}
}

// fromBrowser reports whether a request carries what browsers add and no client
// of the socket does: a page must not reach it through a careless proxy.
func fromBrowser(r *http.Request) bool {
	_, origin := r.Header["Origin"]
	_, referer := r.Header["Referer"]
	return origin || referer
}

// These are shared by all answers, so that none has to allocate them.
var (
	noStore = []string{"no-store"}
	noSniff = []string{"nosniff"}
)

// guard does what every request needs.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header["Cache-Control"], header["X-Content-Type-Options"] = noStore, noSniff
		defer s.recovered(w)
		if !connectionOf(r.Context()).begin() {
			panic(http.ErrAbortHandler)
		}
		if !s.serving.TryRLock() { // somebody waits to write: the stop
			s.fail(w, r, broker.ErrShuttingDown)
			return
		}
		defer s.serving.RUnlock()
		next.ServeHTTP(w, r)
	})
}

// recovered answers in place of a handler that panicked. What it panicked with
// is not logged, since that could hold a secret.
func (s *Server) recovered(w http.ResponseWriter) {
	switch v := recover(); v {
	case nil:
	case http.ErrAbortHandler:
		panic(v)
	default:
		s.Log.Error("a request handler panicked", "stack", string(debug.Stack()))
		writeError(w, http.StatusInternalServerError, internalError)
	}
}

// Serve answers the connections that ln accepts, with one of the server's
// handlers, until ctx ends. Then it refuses what is asked anew, and blocks until
// the requests in flight are answered, for half a minute at most.
func (s *Server) Serve(ctx context.Context, ln net.Listener, h http.Handler) error {
	admission := &admission{Listener: ln, accounts: s.accounts, count: func() { s.Refused(refusedConnections) }}
	idle := idleTimeout
	if ln.Addr().Network() == "tcp" {
		idle, admission.accounts = tcpIdleTimeout, newTCPAccounts(ln.Addr())
	}
	_, admission.runner = h.(runnerHandler)
	defer admission.refusing.Wait()
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idle,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnContext:       inContext,
		ConnState:         answered,
		// OPTIONS * would be answered past the handler.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(s.Log.Handler(), slog.LevelWarn),
	}
	ended := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { ended <- s.stop(server, ln) })
	err := server.Serve(admission)
	if stop() {
		return err
	}
	return <-ended
}

// stop ends one listener and its connections. It does not leave the waiting to
// http.Server.Shutdown, which hangs up on requests that it could refuse.
func (s *Server) stop(server *http.Server, ln net.Listener) error {
	limit, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	// Until the requests in flight have ended, new ones are told that the daemon
	// stops: that says more than a connection that is refused.
	s.drain()
	server.SetKeepAlivesEnabled(false)
	select {
	case <-s.drained:
	case <-limit.Done():
		s.Log.Warn("requests were cut off, since they did not end in time", "listener", ln.Addr().String())
	}
	err := ln.Close()
	// What is left are refusals, and connections that have not said a word.
	last, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	if limit.Err() == nil {
		_ = server.Shutdown(last)
	}
	return errors.Join(err, server.Close())
}
