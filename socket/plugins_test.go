package socket

import (
	"context"
	"fmt"
	"slices"

	"github.com/invectd/invectd/broker"
)

const pluginDigest = "sha256:2aabec6a9f0f669045a3ccc0ebe91955d82de7caa7bd196a2557fa837c3a79c9"

// scriptedPlugins are a folder with one plugin, which runs.
type scriptedPlugins struct{ store broker.Store }

var scriptedPlugin = broker.Plugin{
	Name: "my_service", Path: "/plugins/my_service", Digest: pluginDigest, State: broker.PluginRunning, Version: "1.0.0",
	Providers: []string{"my_service"}, Restarts: 1, Declared: []broker.Hook{broker.HookTokenRequest}, Error: "it needs hooks",
}

func (scriptedPlugins) Plugins() []broker.Plugin { return []broker.Plugin{scriptedPlugin} }

func (p scriptedPlugins) Trust(ctx context.Context, name, digest string, hooks []broker.Hook) (broker.Plugin, error) {
	switch {
	case name != scriptedPlugin.Name:
		return broker.Plugin{}, fmt.Errorf("there is no plugin %q: %w", name, broker.ErrNotFound)
	case digest != "" && digest != pluginDigest:
		return broker.Plugin{}, fmt.Errorf("the file of plugin %q changed: %w", name, broker.ErrConflict)
	case slices.ContainsFunc(hooks, func(h broker.Hook) bool { return !slices.Contains(broker.AllHooks, h) }):
		return broker.Plugin{}, &broker.InvalidError{Message: "hooks: there is none", Fields: []broker.FieldError{{Path: "hooks", Message: "there is none"}}}
	}
	trusted := scriptedPlugin
	trusted.Granted = hooks
	return trusted, p.store.Writable(ctx)
}

func (p scriptedPlugins) Distrust(ctx context.Context, name string) error {
	if name != scriptedPlugin.Name {
		return fmt.Errorf("plugin %q is not trusted: %w", name, broker.ErrNotFound)
	}
	return p.store.Writable(ctx)
}
