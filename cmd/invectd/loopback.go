package main

import (
	"context"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/invectd/invectd/socket"
	"github.com/invectd/invectd/socket/client"
)

const (
	loopbackPath = "/callback"
	// pageTimeout bounds what a browser may take to fetch the last page.
	pageTimeout = 2 * time.Second
)

// A redirect is what the browser brought back (RFC 6749, section 4.1.2). All of
// it is what somebody put into a URL.
type redirect struct {
	code, issuer string // issuer is `iss` of RFC 9207, "" if absent
	refusal      string // `error`, "" where there is a code
	params       map[string]string
}

// A loopback receives one redirect on 127.0.0.1 (RFC 8252, section 7.3).
type loopback struct {
	listener net.Listener
	server   *http.Server
	served   sync.WaitGroup
	state    string // set before anything is served
	taken    atomic.Bool
	arrived  chan redirect // holds the one redirect
	outcome  chan bool     // holds whether it led to a connection
}

// listenLoopback takes a port, any where it is 0. It serves nothing yet.
func listenLoopback(port uint16) (*loopback, error) {
	ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
	if err != nil {
		return nil, fmt.Errorf("listening for the redirect: %w", err)
	}
	l := &loopback{listener: ln, arrived: make(chan redirect, 1), outcome: make(chan bool, 1)}
	l.server = &http.Server{Handler: l, ReadHeaderTimeout: pageTimeout}
	return l, nil
}

// redirectURI is where the provider sends the browser.
func (l *loopback) redirectURI() string { return "http://" + l.listener.Addr().String() + loopbackPath }

// serve takes the redirect of the flow with that state, until close.
func (l *loopback) serve(state string) {
	l.state = state
	l.served.Go(func() { l.server.Serve(l.listener) }) // ends with ErrServerClosed
}

// finish says how it went; the browser that brought the redirect shows it.
func (l *loopback) finish(connected bool) { l.outcome <- connected }

// close ends what serve began, after the last page is out.
func (l *loopback) close() {
	ctx, cancel := context.WithTimeout(context.Background(), pageTimeout)
	defer cancel()
	if l.server.Shutdown(ctx) != nil {
		l.server.Close() // a browser may hold a connection open that it never used
	}
	l.served.Wait()
}

// ServeHTTP takes the redirect, once, and answers when it is known what came of
// it. A request with another state is not the answer to this flow, and does not
// end it; one with another host is a page that points its own name at 127.0.0.1.
func (l *loopback) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	switch {
	case r.URL.Path != loopbackPath || r.Method != http.MethodGet:
		showResult(w, http.StatusNotFound, pageNothing)
	case r.Host != l.listener.Addr().String(),
		subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(l.state)) != 1,
		!l.taken.CompareAndSwap(false, true):
		showResult(w, http.StatusBadRequest, pageStranger)
	default:
		l.arrived <- redirect{code: q.Get("code"), issuer: q.Get("iss"), refusal: q.Get("error"), params: client.RedirectParams(q)}
		select {
		case connected := <-l.outcome:
			if connected {
				showResult(w, http.StatusOK, pageConnected)
				return
			}
			showResult(w, http.StatusBadRequest, pageFailed)
		case <-r.Context().Done():
		}
	}
}

// A resultPage is what the browser shows in the end. Nothing that came with the
// request is in it.
type resultPage struct{ Title, Text string }

var (
	pageConnected = resultPage{"Connected", "The connection is stored. You can close this window and go back to the terminal."}
	pageFailed    = resultPage{"Not connected", "Nothing was stored. The terminal says why."}
	pageNothing   = resultPage{"Nothing here", "This address only takes the answer of a provider."}
	pageStranger  = resultPage{"Not expected", "This is not the answer that invectd waits for. Start again in the terminal."}
)

func showResult(w http.ResponseWriter, status int, page resultPage) {
	// A fixed page can always be rendered.
	_ = socket.ShowPage(w, status, page.Title, page.Text)
}

// openBrowser asks the desktop to open an address, and reports whether there was
// one to ask. BROWSER, as elsewhere, names a command to use instead.
func openBrowser(getenv func(string) string, address string) bool {
	command := getenv("BROWSER")
	if command == "" {
		if getenv("DISPLAY") == "" && getenv("WAYLAND_DISPLAY") == "" {
			return false
		}
		command = "xdg-open"
	}
	cmd := exec.Command(command, address)
	if cmd.Start() != nil {
		return false
	}
	// It may be the browser itself, which stays when this program has ended.
	_ = cmd.Process.Release()
	return true
}
