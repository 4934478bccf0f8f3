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

const (
	maxProviders = 100   // that one plugin may bring
	maxMismatch  = 2_000 // characters of what is told of those that are not in force
)

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
	h := p.host
	h.offers.Lock()
	defer h.offers.Unlock()
	if !p.wanted(ctx) {
		return context.Canceled
	}
	// Before it is in force no request can need the plugin.
	own, err := h.setDefinitions(ctx, p.name, definitions)
	if err != nil {
		errs = append(errs, err)
	}
	definitions = slices.DeleteFunc(definitions, func(d broker.Definition) bool { return !slices.Contains(own, d.ID) })
	h.mu.Lock()
	defer h.mu.Unlock()
	if ctx.Err() != nil || p.cancel == nil {
		return context.Canceled
	}
	p.answers(process, offer.GetVersion(), definitions, errors.Join(errs...))
	return nil
}

// wanted reports whether nobody has ended the plugin meanwhile.
func (p *supervised) wanted(ctx context.Context) bool {
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	return ctx.Err() == nil && p.cancel != nil
}

// answers makes a process the one that answers, for the definitions that are the
// plugin's own. mismatch tells which are not in force. h.mu is held.
func (p *supervised) answers(process *process, version string, own []broker.Definition, mismatch error) {
	before := p.state
	p.process, p.missed = process, 0
	p.state, p.problem, p.mismatch = broker.PluginRunning, "", ""
	if mismatch != nil {
		p.mismatch = printable(mismatch.Error(), maxMismatch)
		p.host.config.Log.Warn("definitions of a plugin are not in force", "plugin", p.name, "error", p.mismatch)
	}
	p.version = printable(version, 100)
	p.providers, p.declared = []string{}, map[string][]broker.Hook{}
	for _, d := range own {
		p.host.providers[d.ID] = p
		p.providers = append(p.providers, d.ID)
		p.declared[d.ID] = d.Hooks
	}
	p.tell(before)
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
