package socket

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/invectd/invectd/broker"
)

// turnTimeout bounds how long a request waits until one of the same user is
// answered: a caller that does not read its answer must not stop the others.
const turnTimeout = 100 * time.Millisecond

var (
	errTooManyInFlight = &refusal{http.StatusTooManyRequests, codeTooMany, "this user has too many requests in flight: wait for some to be answered; --max-inflight-per-uid sets how many it may have", nil}
	errTooOften        = &refusal{http.StatusTooManyRequests, codeTooMany, "this user asks too often for what costs (changes, refreshes, new flows) or for what it may not see: wait a little", nil}
)

// limited keeps the requests of each user within its limits.
func (s *Server) limited(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := connectionOf(r.Context())
		if c == nil { // not from a listener, as in tests
			next.ServeHTTP(w, r)
			return
		}
		if !c.enter(r) {
			s.fail(w, r, errTooManyInFlight)
			return
		}
		defer c.leave()
		next.ServeHTTP(w, r)
	})
}

// begin notes that a request has arrived, and reports false where the connection
// has been given up just before.
func (c *connection) begin() bool {
	return c == nil || c.state.CompareAndSwap(waiting, answering)
}

// ended notes that an answer is out. It is [http.Server.ConnState].
func ended(conn net.Conn, state http.ConnState) {
	if state == http.StateIdle {
		conn.(*connection).state.Store(waiting)
	}
}

// enter waits for the turn of a request and counts it as in flight; false says
// that there are too many. What may wait for the disk or a provider gives its
// turn back at once.
func (c *connection) enter(r *http.Request) bool {
	c.takeTurn(r.Context())
	c.counted = c.peer.inFlight.Add(1) <= int64(c.peers.limits.InFlight)
	if !c.counted {
		c.peer.inFlight.Add(-1)
	}
	if !c.counted || r.Method != http.MethodGet || r.URL.Path == callbackPath {
		c.giveTurn()
	}
	return c.counted
}

func (c *connection) takeTurn(ctx context.Context) {
	select {
	case c.peer.turns <- struct{}{}:
		c.hasTurn = true
		return
	default:
	}
	limit := time.NewTimer(turnTimeout)
	defer limit.Stop()
	select {
	case c.peer.turns <- struct{}{}:
		c.hasTurn = true
	case <-limit.C:
	case <-ctx.Done():
	}
}

func (c *connection) giveTurn() {
	if c.hasTurn {
		c.hasTurn = false
		<-c.peer.turns
	}
}

// leave ends what enter began, early for a request that waits for something that
// costs nothing meanwhile.
func (c *connection) leave() {
	if c == nil {
		return
	}
	c.giveTurn()
	if c.counted {
		c.counted = false
		c.peer.inFlight.Add(-1)
	}
}

// Uncounted returns r, but a request that waits for a refresh of it does not
// count as in flight any more.
func Uncounted(r broker.Refresher) broker.Refresher { return uncounted{r} }

type uncounted struct{ broker.Refresher }

// Refresh implements [broker.Refresher].
func (u uncounted) Refresh(ctx context.Context, id broker.ID, need broker.Need) (broker.Token, error) {
	connectionOf(ctx).leave()
	return u.Refresher.Refresh(ctx, id, need)
}

const denialCost = 1

// costs of requests that cost more than others that change something.
var costs = map[string]int{
	// These ask a provider.
	"/credentials/{ref}/refresh":   10,
	"/credentials/{ref}/test":      10,
	"/credentials/test-request":    10,
	"/credentials/oauth2/callback": 10,
	// A flow is kept for ten minutes, whether anybody finishes it or not.
	"/credentials/oauth2/start": 50,
}

// cost is what a request costs beforehand. Reading costs nothing: most of it is
// from memory, and turns keep it fair.
func cost(r *http.Request) int {
	if n, ok := costs[r.Pattern]; ok {
		return n
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return 0
	}
	return 1
}

// pay reports whether the user who sends a request could pay for it.
func pay(r *http.Request, n int) bool {
	c := connectionOf(r.Context())
	return n == 0 || c == nil || c.peer.costs == nil || c.peer.costs.AllowN(time.Now(), n)
}

// denied reports whether a status says that the caller may not see something or
// that it is not there. Whoever gets it too often is told no more.
func denied(status int) bool {
	return status == http.StatusForbidden || status == http.StatusNotFound
}
