package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/oauth"
	"github.com/invectd/invectd/broker/store"
	"github.com/invectd/invectd/metrics"
	"github.com/invectd/invectd/plugins"
	"github.com/invectd/invectd/plugins/catalog"
	"github.com/invectd/invectd/plugins/host"
	"github.com/invectd/invectd/refresher"
	"github.com/invectd/invectd/socket"
)

// callbackPath is where the daemon itself receives a browser's redirect.
const callbackPath = "/credentials/oauth2/callback"

// listeners are the addresses that the daemon answers on, as `GET /status`
// shows them: "socket", "metrics" and "callback". One that is off is absent.
type listeners map[string]string

// runDaemon runs the daemon until ctx ends, and stops it in order: connections
// are refused, requests and refreshes in flight end and are stored, the store is
// closed last. ready is called once everything answers.
func runDaemon(ctx context.Context, c daemonConfig, log *slog.Logger, ready func(context.Context, listeners)) (err error) {
	db, err := store.Open(store.Config{Dir: c.DataDir, Key: c.Key, Log: log})
	if err != nil {
		return fmt.Errorf("opening the store in %s: %w", c.DataDir, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	d, err := build(ctx, c, db, log)
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
	g.Go(func() error { return d.plugins.Run(ctx) })
	g.Go(func() error { return c.Backups.run(ctx, db, log) })
	g.Go(func() error { return d.server.Serve(ctx, open.socket, d.server.Handler()) })
	if open.metrics != nil {
		g.Go(func() error { return d.server.Serve(ctx, open.metrics, d.server.MetricsHandler()) })
	}
	if open.callback != nil {
		g.Go(func() error { return d.server.Serve(ctx, open.callback, d.server.CallbackHandler()) })
	}
	log.Info("ready", "listeners", d.addresses, "credentials", d.credentials, "version", version())
	ready(ctx, d.addresses)
	defer context.AfterFunc(ctx, func() {
		log.Info("stopping; what is in flight ends first, within half a minute", "cause", context.Cause(ctx))
	})()
	err = g.Wait()
	log.Info("stopped", "cause", context.Cause(ctx))
	return err
}

// A runningDaemon is what runDaemon builds and runs.
type runningDaemon struct {
	refresher   *refresher.Refresher
	broker      *broker.Broker
	plugins     *host.Host
	server      *socket.Server
	credentials int
	addresses   listeners // set before anything is served
}

// build makes everything on top of the store, bottom up, and starts nothing.
func build(ctx context.Context, c daemonConfig, db *store.DB, log *slog.Logger) (*runningDaemon, error) {
	d := &runningDaemon{}
	registry, err := loadDefinitions(ctx, c, db, log)
	if err != nil {
		return nil, err
	}
	known := func(provider string) bool {
		_, err := registry.Definition(provider)
		return err == nil
	}
	tokens := broker.NewTokens()
	meters := metrics.New(metrics.Sources{
		Tokens: tokens, Known: known, Version: version(),
		Writable: func() bool { return db.Writable(context.Background()) == nil },
	})
	events := broker.NewEvents()
	d.plugins, err = host.New(ctx, host.Config{
		Dir: c.PluginsDir, Scratch: filepath.Join(c.DataDir, "run"), Store: db, Registry: registry, Events: events, Version: version(), Log: log,
	})
	if err != nil {
		return nil, err
	}
	server := oauth.New(oauth.Config{Addresses: c.Addresses, Hooks: d.plugins})
	d.refresher, err = refresher.New(refresher.Config{
		Store: db, Server: server, Tokens: tokens, Events: events, Log: log, Trace: meters.Refresher(),
		Connections: broker.Connections{Definitions: registry, Apps: db},
	})
	if err != nil {
		return nil, err
	}
	d.broker = broker.New(broker.Parts{
		Store: db, Backups: db, Keys: db, Definitions: registry, Plugins: d.plugins, Hooks: d.plugins, Server: server, Refresher: d.refresher, Tokens: tokens, Events: events,
		Auditor: logAuditor{log}, Policy: broker.Policy{Self: uint32(os.Geteuid())}, Log: log,
		CallbackURL:   func() string { return callbackURL(d.addresses["callback"]) },
		Addresses:     c.Addresses,
		ReturnOrigins: c.ReturnOrigins, Trace: meters.Broker(),
	})
	d.server = socket.New(socket.Config{
		Broker: d.broker, Version: version(), Metrics: meters.Handler(), Log: log,
		Listeners: func() map[string]string { return d.addresses },
		Health:    db.Writable,
	})
	for s, err := range db.Summaries(ctx) {
		if err != nil {
			return nil, fmt.Errorf("reading the credentials: %w", err)
		}
		tokens.Load(s)
		d.refresher.Schedule(s)
		d.credentials++
	}
	return d, nil
}

// loadDefinitions gathers the providers: built in, from files, from the API.
func loadDefinitions(ctx context.Context, c daemonConfig, db *store.DB, log *slog.Logger) (*plugins.Registry, error) {
	builtin, err := catalog.Definitions()
	if err != nil {
		return nil, fmt.Errorf("reading the built-in providers: %w", err)
	}
	registry, err := plugins.New(plugins.Config{Builtin: builtin, Store: db, Addresses: c.Addresses, Log: log})
	if err != nil {
		return nil, err
	}
	// A file that is broken takes no other provider down with it.
	if err := registry.LoadDir(c.ProvidersDir); err != nil {
		for line := range strings.Lines(err.Error()) {
			log.Error("a provider definition is not in force", "error", strings.TrimSpace(line))
		}
	}
	return registry, registry.Load(ctx)
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
// are nil where they are off.
type openListeners struct{ socket, metrics, callback net.Listener }

func listen(c daemonConfig) (o openListeners, err error) {
	defer func() {
		if err != nil {
			o.close()
		}
	}()
	if o.socket, err = socket.Listen(c.Socket, c.SocketMode); err != nil {
		return o, err
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
	for name, ln := range map[string]net.Listener{"socket": o.socket, "metrics": o.metrics, "callback": o.callback} {
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

// logAuditor writes changes and denials into the log.
type logAuditor struct{ log *slog.Logger }

// Record implements [broker.Auditor].
func (a logAuditor) Record(e broker.AuditEntry) error {
	if e.Allowed && !e.Changes {
		return nil
	}
	a.log.Info("audit", "at", e.At.UTC().Format(time.RFC3339Nano), "caller", e.Caller.String(), "pid", e.Caller.PID,
		"verb", string(e.Verb), "credential", string(e.CredentialID), "target", e.Target, "allowed", e.Allowed, "rule", e.Rule)
	return nil
}
