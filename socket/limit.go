package socket

import (
	"container/list"
	"context"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/time/rate"
)

// Limits bound what one user may take of the daemon over its Unix sockets, all
// of them together. A field that is zero has its default.
type Limits struct {
	// Connections are open at once, 4096 by default and never more than three
	// quarters of all that there are descriptors for.
	Connections int
	// InFlight are requests at once, 512 by default. One that waits for a refresh
	// and one that listens to events do not count.
	InFlight int
}

const (
	defaultConnections = 4096
	defaultInFlight    = 512
	// reserved descriptors are never a connection's that is served: the store, the
	// providers, the plugins, the TCP listeners and those being refused need them.
	reserved = 1024
	// rootRoom are connections that only root gets, who has to get in to mend
	// what others have filled.
	rootRoom = 32
)

// What costs more than an answer from memory is paid from an allowance that holds
// burst and gets perSecond, see [cost]. Root pays nothing.
const perSecond rate.Limit = 500
const burst = 5000

// accounts are of those who are connected: by user id, or over TCP all as one.
type accounts struct {
	limits   Limits
	room     int  // connections of all together
	tcp      bool // nobody is told apart, so the oldest that waits makes room
	loopback bool // with tcp: on an address that only this machine has

	mu    sync.Mutex
	all   map[uint32]*account
	count int       // connections of all together
	swept time.Time // when users that are gone were last forgotten
}

// newAccounts returns those of the Unix sockets.
func newAccounts(limits Limits) *accounts {
	room := connectionRoom()
	if limits.Connections == 0 {
		limits.Connections = defaultConnections
	}
	if limits.InFlight == 0 {
		limits.InFlight = defaultInFlight
	}
	limits.Connections = min(limits.Connections, room*3/4)
	return &accounts{limits: limits, room: room, all: map[uint32]*account{}}
}

// newTCPAccounts returns those of one TCP listener.
func newTCPAccounts(address net.Addr) *accounts {
	return &accounts{loopback: isLoopback(address), limits: Limits{Connections: tcpConnections}, room: 2 * tcpConnections, tcp: true, all: map[uint32]*account{}}
}

// connectionRoom is how many connections there are descriptors for: each needs
// two, since its process is held by a pidfd. The Go runtime has raised the soft limit to the hard one when the process began.
func connectionRoom() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return defaultConnections
	}
	all := int(min(limit.Cur, 1<<20))
	return (all - min(reserved, all/2)) / 2
}

// An account is what one user holds.
type account struct {
	connections list.List     // of *connection, the oldest first; guarded by accounts.mu
	costs       *rate.Limiter // nil for who pays nothing
	inFlight    atomic.Int64
	// Turns are held by requests that are at work: as many as there are processors
	// by reads from memory, some more by others, which may wait for the disk.
	reads, others chan struct{}
	awaiting      atomic.Int64 // requests that wait for a turn
}

const otherTurns = 16

func (p *accounts) newAccount(uid uint32) *account {
	user := &account{reads: make(chan struct{}, runtime.GOMAXPROCS(0)), others: make(chan struct{}, otherTurns)}
	if uid != 0 && !p.tcp {
		user.costs = rate.NewLimiter(perSecond, burst)
	}
	return user
}

// admit makes room for a connection of a user. It returns nil where there is
// none.
func (p *accounts) admit(conn net.Conn, uid uint32) *connection {
	p.mu.Lock()
	defer p.mu.Unlock()
	user := p.of(uid)
	if !p.roomFor(user, uid) {
		p.forget(uid)
		return nil
	}
	c := &connection{Conn: conn, accounts: p, account: user, uid: uid}
	c.place = user.connections.PushBack(c)
	p.count++
	return c
}

// roomFor reports whether user may have one connection more, which others may
// have to make room for. The caller holds mu.
func (p *accounts) roomFor(user *account, uid uint32) bool {
	if user.connections.Len() >= p.limits.Connections {
		return p.tcp && p.shed(user)
	}
	room := p.room
	if uid != 0 {
		room -= min(rootRoom, room/4)
	}
	if p.count < room {
		return true
	}
	// Whoever has most makes room for who has less.
	largest := p.largest()
	return largest.connections.Len() > user.connections.Len()+1 && p.shed(largest)
}

// largest returns who has the most connections. The caller holds mu.
func (p *accounts) largest() *account {
	largest := &account{}
	for _, user := range p.all {
		if user.connections.Len() > largest.connections.Len() {
			largest = user
		}
	}
	return largest
}

// shed closes the oldest connection of a user that never had an answer, else the
// oldest on which no request is being answered, and reports whether there was
// one. The caller holds mu.
func (p *accounts) shed(user *account) bool {
	for _, state := range []int32{unheard, waiting} {
		for place := user.connections.Front(); place != nil; place = place.Next() {
			if c := place.Value.(*connection); c.state.CompareAndSwap(state, shed) {
				p.drop(c)
				c.Conn.Close()
				return true
			}
		}
	}
	return false
}

// shedAny closes a connection of whoever has most of them.
func (p *accounts) shedAny() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shed(p.largest())
}

// drop takes a connection off the books, once. The caller holds mu.
func (p *accounts) drop(c *connection) {
	if c.place == nil {
		return
	}
	c.account.connections.Remove(c.place)
	c.place = nil
	p.count--
	p.forget(c.uid)
}

// of returns the state of a user. The caller holds mu.
func (p *accounts) of(uid uint32) *account {
	user, ok := p.all[uid]
	if !ok {
		p.sweep(time.Now())
		user = p.newAccount(uid)
		p.all[uid] = user
	}
	return user
}

// forget forgets a user without connections, unless its bucket is not full yet:
// to hang up must not fill it. The caller holds mu.
func (p *accounts) forget(uid uint32) {
	if user := p.all[uid]; user.connections.Len() == 0 && (user.costs == nil || user.costs.Tokens() >= burst) {
		delete(p.all, uid)
	}
}

// sweep forgets whose bucket has filled since they hung up. It looks at all of
// them only as often as a bucket takes to fill. The caller holds mu.
func (p *accounts) sweep(now time.Time) {
	if now.Sub(p.swept) < time.Duration(burst/perSecond)*time.Second {
		return
	}
	p.swept = now
	for uid := range p.all {
		p.forget(uid)
	}
}

// What a connection is doing.
const (
	answering int32 = iota // from the start of the handler until the answer is out; a new one is busy too
	unheard                // no request has arrived whole
	waiting                // for another request, or for the rest of one's header
	shed                   // closed, to make room
)

// A connection is one that was admitted. HTTP/1.1 has one request on it at a
// time, so that what is noted of the request lies here.
type connection struct {
	net.Conn
	accounts *accounts
	account  *account
	uid      uint32
	place    *list.Element // guarded by accounts.mu; nil when it is off the books
	state    atomic.Int32
	// Of the request that is answered; owned by its handler.
	turns   chan struct{} // that it holds one of, or nil
	counted bool          // as in flight
}

// Close implements [net.Conn].
func (c *connection) Close() error {
	c.accounts.mu.Lock()
	c.accounts.drop(c)
	c.accounts.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite makes [http.Server] end an answer to a request that it has not read
// whole as it would on the connection beneath: the peer sees an end, no error.
func (c *connection) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

type connectionKey struct{}

// inContext notes on a connection's context which one it is, and who opened it.
func inContext(ctx context.Context, conn net.Conn) context.Context {
	c := conn.(*connection) // the listener admits no other
	return withCaller(context.WithValue(ctx, connectionKey{}, c), c.Conn)
}

// connectionOf returns the connection that a request came on; nil where it came
// otherwise.
func connectionOf(ctx context.Context) *connection {
	c, _ := ctx.Value(connectionKey{}).(*connection)
	return c
}
