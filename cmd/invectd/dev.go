package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/store"
	"github.com/invectd/invectd/cmd/invectd/internal/sandbox"
	"github.com/invectd/invectd/socket/client"
)

const (
	devLifetime  = 20 * time.Second // of tokens, unless --token-lifetime says otherwise
	walkLifetime = 4 * time.Second  // with --auto
	// minWalkLifetime keeps renewals apart from expiries that are told in whole
	// seconds.
	minWalkLifetime = 3 * time.Second
)

func newDevCommand(p program) *cobra.Command {
	f := devFlags{program: p}
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Try everything: the daemon with a sandbox provider",
		Long: `Try everything out: the daemon, with a key made on the spot, and a sandbox OAuth2
provider on loopback whose tokens live for seconds, in one process. It prints what
to type in another terminal, and forgets everything at the end.

With --auto it goes through it alone: consent, reading the token, renewals, consent
withdrawn, reconnecting; it says what it saw, and exits 1 where anything failed.`,
		Example: `  invectd dev --auto
  invectd dev --token-lifetime 1m --log`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.auto, "auto", false, "go through it alone, and end")
	flags.StringVar(&f.dir, "data-dir", "", "`DIR` that keeps the store, the key and the socket (default one that is removed at the end)")
	flags.DurationVar(&f.lifetime, "token-lifetime", 0, "how long the sandbox's tokens live (default 20s, with --auto 4s)")
	flags.BoolVar(&f.log, "log", false, "print the daemon's log")
	return cmd
}

type devFlags struct {
	program
	auto, log bool
	dir       string
	temporary bool // dir was made for this run
	lifetime  time.Duration
}

// run starts the sandbox and the daemon, and ends both when the session between
// them is over.
func (f *devFlags) run(ctx context.Context) (err error) {
	if err := f.complete(); err != nil {
		return err
	}
	if f.dir == "" {
		if f.dir, err = os.MkdirTemp("", "invectd-dev-"); err != nil {
			return fmt.Errorf("making a temporary folder: %w", err)
		}
		f.temporary = true
		defer func() { err = errors.Join(err, os.RemoveAll(f.dir)) }()
	}
	config, err := f.daemonConfig()
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	// The sandbox's library tells the process's log of each request it refuses,
	// and knows no other way.
	slog.SetDefault(log)
	if f.log {
		log = slog.New(slog.NewTextHandler(f.stderr, nil))
	}
	server, err := newSandbox(f.lifetime, log)
	if err != nil {
		return err
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	up := make(chan listeners, 1)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return server.Serve(ctx) })
	g.Go(func() error {
		return runDaemon(ctx, config, log, func(_ context.Context, l listeners) { up <- l })
	})
	g.Go(func() error {
		defer end()
		select {
		case l := <-up:
			return f.session(ctx, l["socket"], server)
		case <-ctx.Done():
			return nil
		}
	})
	return g.Wait()
}

func (f *devFlags) complete() error {
	switch {
	case f.lifetime == 0 && f.auto:
		f.lifetime = walkLifetime
	case f.lifetime == 0:
		f.lifetime = devLifetime
	case f.lifetime < time.Second, f.auto && f.lifetime < minWalkLifetime:
		return usagef("--token-lifetime has to be 1s at least, and %s with --auto", minWalkLifetime)
	}
	return nil
}

// daemonConfig is that of a daemon that speaks to loopback only.
func (f *devFlags) daemonConfig() (daemonConfig, error) {
	dir, err := filepath.Abs(f.dir)
	if err != nil {
		return daemonConfig{}, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return daemonConfig{}, err
	}
	key, err := devKey(filepath.Join(dir, "key"))
	if err != nil {
		return daemonConfig{}, err
	}
	return daemonConfig{
		Socket: filepath.Join(dir, "invectd.sock"), SocketMode: 0o600,
		DataDir: filepath.Join(dir, "store"), PluginsDir: filepath.Join(dir, "plugins"), ProvidersDir: filepath.Join(dir, "providers"),
		Addresses:   broker.Addresses{netip.MustParsePrefix("127.0.0.0/8")},
		MetricsAddr: "127.0.0.1:0", CallbackAddr: "127.0.0.1:0", Key: key,
	}, nil
}

// devKey reads the key of an earlier try-out in the same folder, or makes one. A
// key that lies beside its store protects nothing, which is fine for a try-out.
func devKey(path string) (store.Key, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		text = []byte(newKeyText() + "\n")
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		return store.Key{}, fmt.Errorf("keeping the try-out's key: %w", err)
	}
	key, err := store.ParseKey(string(text))
	if err != nil {
		return store.Key{}, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// session is what happens between start and end.
func (f *devFlags) session(ctx context.Context, socket string, server *sandbox.Server) error {
	c := client.New(socket)
	defer c.Close()
	if f.auto {
		return newWalk(f.stdout, c, socket, server).run(ctx)
	}
	if err := registerSandbox(ctx, c, server); err != nil {
		return err
	}
	if err := createRobot(ctx, c); err != nil {
		return err
	}
	if err := f.printGuide(socket, server); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
