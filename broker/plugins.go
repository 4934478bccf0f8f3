package broker

import "context"

// A PluginState tells what became of a file in the plugins folder.
type PluginState string

// The states, with the names of the contract.
const (
	PluginRunning     PluginState = "running"
	PluginUntrusted   PluginState = "untrusted"   // the operator has not given the word for this file
	PluginRefused     PluginState = "refused"     // others could have written it, or it is no plugin
	PluginQuarantined PluginState = "quarantined" // it ended too often
	PluginStopped     PluginState = "stopped"     // it is about to be started, or its file is gone
)

// A Plugin is a program in the plugins folder.
type Plugin struct {
	Name      string // of the file
	Path      string
	Digest    string // of the file as it is, `sha256:` and hex; "" where it cannot be read
	State     PluginState
	Version   string   // the plugin's own; "" until it ran
	Providers []string // whose definitions it brought
	Restarts  int      // since the daemon started
	Declared  []Hook   // what it says that it needs; nil until it ran
	Granted   []Hook   // what the operator gave it
	Error     string   // what is wrong and what to do; "" if nothing is
}

// A PluginTrust is the operator's word for one plugin.
type PluginTrust struct {
	Name   string `json:"name"`
	Digest string `json:"digest"` // of the file, `sha256:` and hex
	Hooks  []Hook `json:"hooks"`  // granted
}

// A PluginTrustStore keeps the operator's word.
type PluginTrustStore interface {
	PluginTrusts(ctx context.Context) ([]PluginTrust, error)
	// PutPluginTrust writes or replaces by name.
	PutPluginTrust(ctx context.Context, t PluginTrust) error
	// DeletePluginTrust removes one, or returns an error wrapping [ErrNotFound].
	DeletePluginTrust(ctx context.Context, name string) error
}

// Plugins run the programs in the plugins folder.
type Plugins interface {
	// Plugins returns what is in the folder, ordered by name.
	Plugins() []Plugin
	// Trust takes the operator's word for the file as it is, durably, and starts
	// it. Where digest is not "", the file has to have it, else the error wraps
	// [ErrConflict]. hooks are all that it is granted from now on. The error wraps
	// [ErrNotFound] where there is no such file, and is an [*InvalidError] where it
	// cannot be run.
	Trust(ctx context.Context, name, digest string, hooks []Hook) (Plugin, error)
	// Distrust takes the word back and ends the plugin. The error wraps
	// [ErrNotFound] where it was not given.
	Distrust(ctx context.Context, name string) error
}

// ListPlugins returns what is in the plugins folder, ordered by name.
func (b *Broker) ListPlugins(caller Caller) ([]Plugin, error) {
	if _, err := b.authorize(caller, VerbAdmin, "plugins"); err != nil {
		return nil, err
	}
	return b.Plugins.Plugins(), nil
}

// TrustPlugin lets a plugin run, see [Plugins].
func (b *Broker) TrustPlugin(ctx context.Context, caller Caller, name, digest string, hooks []Hook) (_ Plugin, err error) {
	entry, err := b.authorize(caller, VerbAdmin, name)
	if err != nil {
		return Plugin{}, err
	}
	change, err := b.begin(entry)
	if err != nil {
		return Plugin{}, err
	}
	defer change.end(&err)
	return b.Plugins.Trust(ctx, name, digest, hooks)
}

// DistrustPlugin ends a plugin, see [Plugins].
func (b *Broker) DistrustPlugin(ctx context.Context, caller Caller, name string) (err error) {
	entry, err := b.authorize(caller, VerbAdmin, name)
	if err != nil {
		return err
	}
	change, err := b.begin(entry)
	if err != nil {
		return err
	}
	defer change.end(&err)
	return b.Plugins.Distrust(ctx, name)
}

// runningPlugins counts them.
func (b *Broker) runningPlugins() (n int) {
	if b.Plugins == nil {
		return 0
	}
	for _, p := range b.Plugins.Plugins() {
		if p.State == PluginRunning {
			n++
		}
	}
	return n
}
