package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"runtime/debug"

	"golang.org/x/sync/errgroup"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/audit"
	"github.com/invectd/invectd/broker/oauth"
	"github.com/invectd/invectd/broker/store"
	"github.com/invectd/invectd/metrics"
	"github.com/invectd/invectd/plugins"
	"github.com/invectd/invectd/plugins/catalog"
	"github.com/invectd/invectd/plugins/host"
	"github.com/invectd/invectd/refresher"
	"github.com/invectd/invectd/socket"
	"github.com/invectd/invectd/socket/client"
)

// callbackPath is where the daemon itself receives a browser's redirect.
const callbackPath = "/credentials/oauth2/callback"

// listeners are the addresses that the daemon answers on, as `GET /status`
// shows them: "socket", "runner", "metrics" and "callback". One that is off is absent.
type listeners map[string]string

// runDaemon runs the daemon until ctx ends, and stops it in order: connections
// are refused, requests and refreshes in flight end and are stored, the store is
// closed last. ready is called once everything answers.
func runDaemon(ctx context.Context, c daemonConfig, log *slog.Logger, ready func(context.Context, listeners)) (err error) {
	policy, err := startPolicy(c.Policy, log)
	if err != nil {
		return err
	}
	db, err := store.Open(store.Config{Dir: c.DataDir, Key: c.Key, Log: log})
	if err != nil {
		return fmt.Errorf("opening the store in %s: %w", c.DataDir, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	trail, err := openAudit(c.DataDir, db, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, trail.Close()) }()
	d, err := build(ctx, c, db, trail, policy, log)
	if err != nil {
		return err
	}
	open, err := listen(c)
	if err != nil {
		return err
	}
	defer open.close()
	d.addresses = open.addresses()

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.refresher.Run(ctx) })
	g.Go(func() error { return d.broker.Run(ctx) })
	g.Go(func() error { return trail.Run(ctx) })
	g.Go(func() error {
		return d.registry.Watch(ctx, func(change broker.ProviderChange) { d.broker.ProviderChanged(ctx, change) })
	})
	stopPlugins := runPlugins(ctx, g, d.plugins)
	g.Go(func() error { return c.Backups.run(ctx, auditedBackups{db, trail}, log) })
	g.Go(func() error { return policy.run(ctx) })
	g.Go(func() error { return d.server.Serve(ctx, open.socket, d.server.Handler()) })
	if open.runner != nil {
		g.Go(func() error { return d.server.Serve(ctx, open.runner, d.server.RunnerHandler()) })
	}
	if open.metrics != nil {
		g.Go(func() error { return d.server.Serve(ctx, open.metrics, d.server.MetricsHandler()) })
	}
	if open.callback != nil {
		g.Go(func() error { return d.server.Serve(ctx, open.callback, d.server.CallbackHandler()) })
	}
	log.Info("ready", "listeners", d.addresses, "credentials", d.credentials, "version", version())
	debug.FreeOSMemory() // reading the catalogue and the store left twice of what is kept
	ready(ctx, d.addresses)
	defer context.AfterFunc(ctx, func() {
		log.Info("stopping; what is in flight ends first, within half a minute", "cause", context.Cause(ctx))
	})()
	err = g.Wait()
	stopPlugins()
	log.Info("stopped", "cause", context.Cause(ctx))
	return err
}

// runPlugins runs the plugins, in spite of the end of ctx, until stop is called:
// what is in flight by then may need them, and must not lose a token over it.
func runPlugins(ctx context.Context, g *errgroup.Group, plugins *host.Host) (stop func()) {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- plugins.Run(own) }()
	g.Go(func() error {
		select {
		case err := <-ended:
			ended <- nil
			return err
		case <-ctx.Done():
			return nil
		}
	})
	return func() {
		cancel()
		<-ended
	}
}

// A runningDaemon is what runDaemon builds and runs.
type runningDaemon struct {
	refresher   *refresher.Refresher
	broker      *broker.Broker
	registry    *plugins.Registry
	plugins     *host.Host
	server      *socket.Server
	credentials int
	addresses   listeners // set before anything is served
}

// build makes everything on top of the store, bottom up, and starts nothing.
func build(ctx context.Context, c daemonConfig, db *store.DB, trail *audit.Log, policy policySource, log *slog.Logger) (*runningDaemon, error) {
	d := &runningDaemon{}
	tokens := broker.NewTokens()
	for s, err := range db.Summaries(ctx) {
		if errors.Is(err, broker.ErrDamaged) {
			continue // whose it is is told below
		}
		if err != nil {
			return nil, fmt.Errorf("reading the credentials: %w", err)
		}
		tokens.Load(s)
	}
	for _, damage := range db.Damaged() {
		if _, known := tokens.Get(broker.ID(damage.ID)); damage.OfCredential() && !known {
			tokens.LoadDamaged(broker.ID(damage.ID), damage.Cause())
		}
	}
	inUse := func(provider string) bool {
		return len(tokens.Provider(provider)) > 0 || d.broker != nil && d.broker.RevocationsUse(provider)
	}
	registry, err := loadDefinitions(ctx, c, db, inUse, log)
	if err != nil {
		return nil, err
	}
	d.registry = registry
	known := func(provider string) bool {
		_, err := registry.Definition(provider)
		return err == nil
	}
	meters := metrics.New(metrics.Sources{
		Tokens: tokens, Known: known, Version: version(), Policy: policy.Policy, RefusalReasons: socket.RefusalReasons,
		Writable: func() bool { return db.Writable(context.Background()) == nil },
		Repairs:  db.Repairs,
		Damaged:  func() int { return len(db.Damaged()) },
		Audit:    func() metrics.AuditState { return auditMetrics(trail.State()) },
		Plugins:  func() []broker.Plugin { return d.plugins.Plugins() },
		Outages:  func() []broker.Outage { return d.refresher.Outages() },
	})
	events := broker.NewEvents()
	d.plugins, err = host.New(ctx, host.Config{
		Dir: c.PluginsDir, Scratch: filepath.Join(c.DataDir, "run"), Store: db, Registry: registry, Events: events, Version: version(), Log: log,
		Trace:   meters.Plugins(),
		Changed: func(change broker.ProviderChange) { d.broker.ProviderChanged(ctx, change) },
	})
	if err != nil {
		return nil, err
	}
	server := oauth.New(oauth.Config{Addresses: c.Addresses, Hooks: d.plugins})
	d.refresher, err = refresher.New(refresher.Config{
		Store: db, Server: server, Tokens: tokens, Events: events, Auditor: trail, Log: log, Trace: meters.Refresher(),
		Connections: broker.Connections{Definitions: registry, Apps: db},
	})
	if err != nil {
		return nil, err
	}
	grantKey, err := db.GrantKey()
	if err != nil {
		return nil, fmt.Errorf("deriving the key of the grants: %w", err)
	}
	d.broker = broker.New(broker.Parts{
		GrantKey: grantKey,
		Store:    db, Backups: db, Keys: db, Definitions: registry, Plugins: d.plugins, Hooks: d.plugins, Server: server,
		Refresher: socket.Uncounted(d.refresher), Tokens: tokens, Events: events,
		Auditor: trail, Policy: policy.Policy, Log: log,
		CallbackURL:   func() string { return callbackURL(d.addresses["callback"]) },
		Addresses:     c.Addresses,
		ReturnOrigins: c.ReturnOrigins, Trace: meters.Broker(),
		SourceProblems: func() []broker.Problem { return append(registry.Problems(), d.plugins.Problems()...) },
	})
	if err := d.broker.LoadGrants(ctx); err != nil {
		return nil, err
	}
	d.server = socket.New(socket.Config{
		Broker: d.broker, Version: version(), Metrics: meters.Handler(), Log: log,
		Listeners: func() map[string]string { return d.addresses },
		Health:    db.Writable,
		Condition: func() socket.StoreCondition { return conditionOf(db) },
		Audit:     func() client.AuditStatus { return auditStatus(trail.State()) },
		Limits:    c.Limits,
		Refused:   meters.Refused,
	})
	if err := d.broker.LoadRevocations(ctx); err != nil {
		return nil, err
	}
	if err := d.broker.Adopt(ctx); err != nil {
		log.Warn("what older credentials were authorised with is not written down yet; it is tried again at the next start", "error", err)
	}
	for _, s := range tokens.All() {
		d.refresher.Schedule(s)
		d.credentials++
	}
	return d, nil
}

func conditionOf(db *store.DB) socket.StoreCondition {
	c := socket.StoreCondition{Repairs: db.Repairs(), Outdated: db.Outdated()}
	for _, damage := range db.Damaged() {
		c.Damaged = append(c.Damaged, fmt.Sprintf("%s %q", damage.Kind, damage.ID))
	}
	return c
}

// loadDefinitions gathers the providers: built in, from files, from the API.
func loadDefinitions(ctx context.Context, c daemonConfig, db *store.DB, inUse func(provider string) bool, log *slog.Logger) (*plugins.Registry, error) {
	builtin, err := catalog.Definitions()
	if err != nil {
		return nil, fmt.Errorf("reading the built-in providers: %w", err)
	}
	registry, err := plugins.New(plugins.Config{
		Builtin: builtin, Store: db, Addresses: c.Addresses, Log: log, Dir: c.ProvidersDir, InUse: inUse,
	})
	if err != nil {
		return nil, err
	}
	if err := registry.Load(ctx); err != nil {
		return nil, err
	}
	registry.Rescan(ctx) // it tells what is wrong in the log; nobody listens yet to what changed
	return registry, nil
}

// callbackURL is the redirect URI of the daemon's own callback, "" if it is off.
// A wildcard address is written as loopback, which is where a browser finds it.
func callbackURL(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port) + callbackPath
}

// openListeners are what the daemon accepts connections on; metrics and callback
// are nil where they are off, and runner where there is none.
type openListeners struct{ socket, runner, metrics, callback net.Listener }

func listen(c daemonConfig) (o openListeners, err error) {
	defer func() {
		if err != nil {
			o.close()
		}
	}()
	if o.socket, o.runner, err = activated(); err != nil {
		return o, err
	}
	// The runners' one first: others have to pass through the folder that it makes.
	if o.runner == nil {
		if o.runner, err = c.Runner.listen(); err != nil {
			return o, err
		}
	}
	if o.socket == nil {
		if o.socket, err = socket.Listen(c.Socket, c.SocketMode, socket.NoGroup); err != nil {
			return o, err
		}
	}
	if o.metrics, err = listenTCP("--metrics", c.MetricsAddr); err != nil {
		return o, err
	}
	o.callback, err = listenTCP("--callback", c.CallbackAddr)
	return o, err
}

func listenTCP(flag, address string) (net.Listener, error) {
	if address == off {
		return nil, nil
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w (give another address, or %q)", flag, address, err, off)
	}
	return ln, nil
}

func (o openListeners) each(do func(name string, ln net.Listener)) {
	for name, ln := range map[string]net.Listener{"socket": o.socket, "runner": o.runner, "metrics": o.metrics, "callback": o.callback} {
		if ln != nil {
			do(name, ln)
		}
	}
}

func (o openListeners) addresses() listeners {
	out := listeners{}
	o.each(func(name string, ln net.Listener) { out[name] = ln.Addr().String() })
	return out
}

func (o openListeners) close() {
	o.each(func(_ string, ln net.Listener) { ln.Close() })
}
