package host

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/plugins"
	"github.com/invectd/invectd/plugins/protocol"
)

// maxProviders bounds what one plugin may bring.
const maxProviders = 100

// introduce asks a process what it offers, and puts that in force. From then on
// it is the one that answers.
func (p *supervised) introduce(ctx context.Context, process *process) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	offer, err := process.provider.Describe(ctx, &protocol.DescribeRequest{DaemonVersion: p.host.config.Version})
	if err != nil {
		return fmt.Errorf("it could not be asked what it offers: %s", told(err))
	}
	definitions, errs := readOffer(p.name, offer)
	// Before it is in force no request can need the plugin.
	if err := p.host.setDefinitions(ctx, p.name, definitions); err != nil {
		errs = append(errs, err)
	}
	h := p.host
	h.mu.Lock()
	defer h.mu.Unlock()
	if ctx.Err() != nil || p.cancel == nil {
		return context.Canceled
	}
	before := p.state
	p.process, p.missed = process, 0
	p.state, p.problem, p.mismatch = broker.PluginRunning, "", ""
	if err := errors.Join(errs...); err != nil {
		p.mismatch = err.Error()
		h.config.Log.Warn("definitions of a plugin are not in force", "plugin", p.name, "error", err)
	}
	p.version = printable(offer.GetVersion(), 100)
	p.providers, p.declared = []string{}, map[string][]broker.Hook{}
	for _, d := range definitions {
		if other := h.providers[d.ID]; other == nil || other == p || other.process == nil {
			h.providers[d.ID] = p
			p.providers = append(p.providers, d.ID)
			p.declared[d.ID] = d.Hooks
		}
	}
	p.tell(before)
	return nil
}

// readOffer returns the definitions of an answer that can be read, and errors for
// the others.
func readOffer(name string, offer *protocol.DescribeResponse) (definitions []broker.Definition, errs []error) {
	if count := len(offer.GetProviders()); count > maxProviders {
		return nil, []error{fmt.Errorf("it offers %d providers and may offer %d", count, maxProviders)}
	}
	for i, provider := range offer.GetProviders() {
		d, err := plugins.Parse(fmt.Sprintf("%s[%d]", name, i), provider.GetDefinition())
		if err == nil && (d.Override || len(d.Hooks) > 0) {
			err = fmt.Errorf("provider %q: a plugin's definition has neither override nor hooks in it", d.ID)
		}
		for _, declared := range provider.GetHooks() {
			hook := broker.Hook(declared)
			if err == nil && !slices.Contains(broker.AllHooks, hook) {
				err = fmt.Errorf("provider %q needs a hook %q, which this version does not have", d.ID, printable(declared, 40))
			}
			d.Hooks = append(d.Hooks, hook)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		definitions = append(definitions, d)
	}
	return definitions, errs
}
