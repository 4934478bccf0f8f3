package socket

import (
	"context"
	"net"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/invectd/invectd/broker"
)

// turnTimeout bounds how long a request waits until others of the same user are
// answered: callers that do not read their answers must not stop the others.
const turnTimeout = 5 * time.Second

// A crowd are more requests of one user that wait for a turn than honest callers
// have. They get one turn in crowdPause.
const (
	crowd      = 64
	crowdPause = 50 * time.Microsecond
)

var (
	errTooManyInFlight = &refusal{http.StatusTooManyRequests, codeTooMany, "this user has too many requests in flight: wait for some to be answered; --max-inflight-per-uid sets how many it may have", nil}
	errTooOften        = &refusal{http.StatusTooManyRequests, codeTooMany, "this user asks too often for what costs (changes, refreshes, new flows) or for what it may not see: wait a little", nil}
)

// The reasons of an answer of 429. They do not say to whom: callers
// must not be able to make series.
const (
	refusedConnections = "connections" // too many are open
	refusedInFlight    = "in_flight"   // too many requests at once
	refusedRate        = "rate"        // too much that costs, or too many denials
)

// RefusalReasons are all of them.
var RefusalReasons = []string{refusedConnections, refusedInFlight, refusedRate}

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
	return c == nil || c.state.CompareAndSwap(waiting, answering) || c.state.CompareAndSwap(unheard, answering)
}

// answered notes that an answer is out. It is [http.Server.ConnState].
func answered(conn net.Conn, state http.ConnState) {
	if state == http.StateIdle {
		conn.(*connection).state.Store(waiting)
	}
}

// enter waits for the turn of a request and counts it as in flight; false says
// that there are too many.
func (c *connection) enter(r *http.Request) bool {
	c.takeTurn(r)
	c.counted = c.account.inFlight.Add(1) <= int64(c.accounts.limits.InFlight)
	if !c.counted {
		c.account.inFlight.Add(-1)
		c.giveTurn()
	}
	return c.counted
}

// takeTurn waits until few enough requests of the user are at work.
func (c *connection) takeTurn(r *http.Request) {
	turns := c.account.others
	if fromMemory(r) {
		turns = c.account.reads
	}
	select {
	case turns <- struct{}{}:
		c.turns = turns
	default:
		c.awaitTurn(r.Context(), turns)
	}
}

// awaitTurn waits for a turn. The scheduler runs whoever is handed something at
// once, ahead of all who have waited longer, and looks for news from the network
// only when there is nothing to run. So a hand-over lets others go first, and in
// a crowd it leaves the processor idle for a moment.
func (c *connection) awaitTurn(ctx context.Context, turns chan struct{}) {
	crowded := c.account.awaiting.Add(1) > crowd
	defer c.account.awaiting.Add(-1)
	limit := time.NewTimer(turnTimeout)
	defer limit.Stop()
	select {
	case turns <- struct{}{}:
		c.turns = turns
	case <-limit.C:
		return
	case <-ctx.Done():
		return
	}
	if crowded {
		time.Sleep(crowdPause * time.Duration(cap(turns)))
	} else {
		runtime.Gosched()
	}
}

// fromMemory reports whether a request is a runner's for a token, whose answer
// is short and waits for nothing but maybe a refresh.
func fromMemory(r *http.Request) bool {
	path := r.URL.Path
	return r.Method == http.MethodGet && (strings.HasSuffix(path, "/token") || strings.HasSuffix(path, "/header") || strings.HasSuffix(path, "/resolve"))
}

func (c *connection) giveTurn() {
	if c != nil && c.turns != nil {
		<-c.turns
		c.turns = nil
	}
}

// leave ends what enter began, early for a request that waits for something that
// costs nothing meanwhile.
func (c *connection) leave() {
	c.giveTurn()
	if c != nil && c.counted {
		c.counted = false
		c.account.inFlight.Add(-1)
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
	devicePath:                  50,
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
	return n == 0 || c == nil || c.account.costs == nil || c.account.costs.AllowN(time.Now(), n)
}

// denied reports whether a status says that the caller may not see something or
// that it is not there. Whoever gets it too often is told no more.
func denied(status int) bool {
	return status == http.StatusForbidden || status == http.StatusNotFound
}
