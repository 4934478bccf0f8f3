package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/invectd/invectd/broker"
)

const (
	// A plugin that ended by itself so often within so long is left alone.
	quarantineCount  = 5
	quarantineWindow = 10 * time.Minute

	restartPause = time.Second // after the first end; doubled after each further one

	healthInterval = 30 * time.Second
	// missedCalls is how many calls in a row a plugin may leave unanswered before
	// it is ended.
	missedCalls = 3
)

// A supervised plugin is a file in the folder, and the process that runs it. All
// fields but the first three are guarded by the host's lock.
type supervised struct {
	host       *Host
	name, path string

	seen   identity // of the file when it was hashed
	digest string   // of the file then

	state    broker.PluginState
	since    time.Time // when it came to be in that state
	problem  string    // what is wrong and what to do; "" if nothing is
	mismatch string    // which of its definitions are not in force
	restarts int
	ends     []time.Time // when it ended by itself, of late

	trust     broker.PluginTrust // what runs, or is about to
	cancel    context.CancelFunc // ends that; nil if nothing is to run
	decided   chan struct{}      // closed when its first start has gone well or not
	process   *process           // that answers; nil while none does
	version   string
	providers []string
	declared  map[string][]broker.Hook // by provider
	missed    int                      // calls in a row without an answer
}

// An identity tells one state of a file from another without reading it.
type identity struct {
	device, inode    uint64
	size             int64
	modified, change syscall.Timespec
}

func newSupervised(h *Host, name, path string) *supervised {
	return &supervised{host: h, name: name, path: path}
}

// look returns the digest of the file as it is now, or why it is not run.
func (p *supervised) look() (string, error) {
	f, err := openExecutable(p.path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	s := info.Sys().(*syscall.Stat_t)
	now := identity{s.Dev, s.Ino, s.Size, s.Mtim, s.Ctim}
	if now != p.seen || p.digest == "" {
		if p.digest, err = digestOf(f); err != nil {
			return "", err
		}
		p.seen = now
	}
	return p.digest, nil
}

// settle has what runs follow the file and the operator's word. h.mu is held.
func (h *Host) settle(p *supervised, there bool, trust broker.PluginTrust, trusted bool) {
	if h.ctx == nil || h.ctx.Err() != nil {
		return
	}
	digest, err := p.look()
	if err == nil && h.folder != "" {
		err = fmt.Errorf("%s", h.folder)
	}
	before := p.state
	switch {
	case !there && trusted:
		p.end(broker.PluginStopped, fmt.Sprintf("its file is gone; put it back, or take the word back: invectd plugins distrust %s", p.name))
	case !there:
		p.end(broker.PluginStopped, "its file is gone")
	case err != nil && (p.cancel == nil || !trusted):
		p.digest = ""
		p.end(broker.PluginRefused, err.Error())
	case err != nil: // what runs is what was trusted; it is only not started again
		p.problem = err.Error()
	case !trusted:
		p.end(broker.PluginUntrusted, fmt.Sprintf("it is not run until you trust it: invectd plugins trust %s", p.name))
	case digest != trust.Digest && p.cancel == nil:
		p.end(broker.PluginUntrusted, fmt.Sprintf("the file changed since it was trusted; look at it, then: invectd plugins trust %s", p.name))
	case digest != trust.Digest:
		p.problem = fmt.Sprintf("the file changed and what was trusted goes on running; look at the file, then: invectd plugins trust %s", p.name)
	case p.state == broker.PluginQuarantined && p.trust.Digest == trust.Digest && len(p.ends) > 0:
	case p.cancel != nil && p.trust.Digest == trust.Digest:
		p.grant(trust)
	default:
		p.begin(trust)
	}
	p.tell(before)
}

// tell makes a change of state an event. h.mu is held.
func (p *supervised) tell(before broker.PluginState) {
	if p.state == before {
		return
	}
	p.since = time.Now()
	p.host.config.Log.Info("a plugin changed", "plugin", p.name, "state", p.state, "problem", p.problem)
	p.host.config.Events.Publish(broker.Event{
		Type: broker.EventPluginChanged, Plugin: p.name, Status: broker.Status(p.state), Reason: p.problem,
	})
}

// grant takes note of what the operator granted. h.mu is held.
func (p *supervised) grant(trust broker.PluginTrust) {
	p.trust = trust
	if p.state == broker.PluginRunning {
		p.problem = ""
	}
}

// begin starts what is trusted now. What ran before goes on until the new one
// answers. h.mu is held.
func (p *supervised) begin(trust broker.PluginTrust) {
	ctx, cancel := context.WithCancel(p.host.ctx)
	replaced := p.cancel
	p.grant(trust)
	p.cancel, p.decided, p.ends, p.problem = cancel, make(chan struct{}), nil, ""
	if p.process == nil {
		p.state = broker.PluginStopped
	}
	decided := p.decided
	p.host.running.Go(func() {
		defer cancel()
		p.run(ctx, trust, replaced, decided)
	})
}

// end ends what runs, if anything does. h.mu is held.
func (p *supervised) end(state broker.PluginState, problem string) {
	if p.cancel != nil {
		p.cancel()
		p.cancel = nil
	}
	p.process = nil
	p.state, p.problem = state, problem
}

// forgive lets a quarantined plugin be started again. h.mu is held.
func (p *supervised) forgive() { p.ends = nil }

// settled waits until the start that is under way has gone well or not.
func (p *supervised) settled(ctx context.Context) {
	p.host.mu.Lock()
	decided := p.decided
	p.host.mu.Unlock()
	if decided == nil {
		return
	}
	select {
	case <-decided:
	case <-ctx.Done():
	}
}

// run keeps one trusted image running until ctx ends or it is quarantined.
// replaced ends what ran before, once this one answers.
func (p *supervised) run(ctx context.Context, trust broker.PluginTrust, replaced context.CancelFunc, decided chan struct{}) {
	first := true
	for pause := restartPause; ; pause = min(2*pause, time.Minute) {
		begun := time.Now()
		err := p.once(ctx, trust, func() {
			if first {
				first = false
				close(decided)
			}
			if replaced != nil {
				replaced()
				replaced = nil
			}
		})
		if time.Since(begun) > quarantineWindow {
			pause = restartPause // it ran well
		}
		if ctx.Err() == nil {
			p.ended(ctx, trust, err)
		}
		if first {
			first = false
			close(decided)
		}
		if ctx.Err() != nil {
			if replaced != nil {
				replaced()
			}
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// once runs the plugin one time, calls ready when it answers, and returns why it
// ended.
func (p *supervised) once(ctx context.Context, trust broker.PluginTrust, ready func()) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := os.MkdirAll(p.host.config.Scratch, 0o700); err != nil {
		return fmt.Errorf("making the folder of plugins' sockets: %w", err)
	}
	img, err := seal(p.path, trust.Digest, p.host.config.Scratch)
	if err != nil {
		return err
	}
	p.host.tellWeak(img)
	process, err := start(p.name, img, p.host.config.Scratch, &printed{log: p.host.config.Log.With("plugin", p.name)})
	if err != nil {
		return fmt.Errorf("it could not be started: %w", err)
	}
	defer process.stop()
	if err := p.introduce(ctx, process); err != nil {
		return err
	}
	ready()
	err = watch(ctx, process)
	p.host.mu.Lock()
	if p.process == process {
		p.process = nil
	}
	p.host.mu.Unlock()
	if ctx.Err() != nil {
		process.calls.Wait() // it was told to end, so that it ends in order; each call ends in time
	}
	return err
}

// watch waits until a process ends or stops answering.
func watch(ctx context.Context, process *process) error {
	ticker := time.NewTicker(healthInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-process.command.exited:
			return fmt.Errorf("it ended by itself (%s)", process.command.state())
		case <-process.hung:
			return fmt.Errorf("it left %d calls in a row without an answer", missedCalls)
		case <-ticker.C:
			if err := process.alive(ctx); err != nil && ctx.Err() == nil {
				return fmt.Errorf("it does not answer any more: %s", told(err))
			}
		}
	}
}

// ended takes note that the plugin ended by itself.
func (p *supervised) ended(ctx context.Context, trust broker.PluginTrust, err error) {
	h := p.host
	h.mu.Lock()
	defer h.mu.Unlock()
	if ctx.Err() != nil || p.trust.Digest != trust.Digest {
		return // it has been replaced or ended since
	}
	if errors.Is(err, errDigest) {
		// There is nothing to start again; the next look at the file says what to do.
		p.end(broker.PluginStopped, err.Error())
		h.rescan()
		return
	}
	before, now := p.state, time.Now()
	p.restarts++
	p.ends = append(slices.DeleteFunc(p.ends, func(at time.Time) bool { return now.Sub(at) > quarantineWindow }), now)
	p.state, p.problem = broker.PluginStopped, err.Error()+"; it is started again"
	if len(p.ends) >= quarantineCount {
		p.state = broker.PluginQuarantined
		p.problem = fmt.Sprintf("%v; it ended %d times within %s and is left alone: put a working file there, or try again: invectd plugins trust %s", err, len(p.ends), quarantineWindow, p.name)
		p.cancel()
		p.cancel = nil
	}
	h.config.Log.Warn("a plugin ended", "plugin", p.name, "restarts", p.restarts, "error", err)
	if h.config.Trace.Ended != nil {
		h.config.Trace.Ended(p.name)
	}
	p.tell(before)
}

// info returns what people are shown. h.mu is held.
func (p *supervised) info() broker.Plugin {
	out := broker.Plugin{
		Name: p.name, Path: p.path, Digest: p.digest, State: p.state, Version: p.version,
		Providers: p.providers, Restarts: p.restarts, Declared: p.hooks(), Error: p.problem,
	}
	if trust, trusted := p.host.trusts[p.name]; trusted {
		out.Granted = trust.Hooks
	}
	if out.Error == "" {
		out.Error = p.mismatch
	}
	if missing := p.ungranted(); out.Error == "" && len(missing) > 0 && out.State == broker.PluginRunning {
		out.Error = fmt.Sprintf("it needs hooks that are not granted: %v; its providers cannot be used without", missing)
	}
	if _, err := os.Lstat(p.path); err != nil {
		out.Digest = ""
	}
	return out
}

// hooks are all that the plugin declared. h.mu is held.
func (p *supervised) hooks() []broker.Hook {
	var all []broker.Hook
	for _, hook := range broker.AllHooks {
		for _, declared := range p.declared {
			if slices.Contains(declared, hook) && !slices.Contains(all, hook) {
				all = append(all, hook)
			}
		}
	}
	return all
}

// ungranted are those of them that the operator did not grant. h.mu is held.
func (p *supervised) ungranted() []broker.Hook {
	return slices.DeleteFunc(p.hooks(), func(h broker.Hook) bool { return slices.Contains(p.trust.Hooks, h) })
}
