package broker

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// The statuses of an [EventProviderChanged].
const (
	ProviderAdded    Status = "added"
	ProviderChanged  Status = "changed"
	ProviderRemoved  Status = "removed"  // nothing is known of it any more
	ProviderStale    Status = "stale"    // its file is broken; the last good definition stays in force
	ProviderGone     Status = "gone"     // its file vanished; the last good definition stays for those that use it
	ProviderAccepted Status = "accepted" // the operator accepted the hosts that it names
)

// A ProviderChange tells what became of the definition in force of a provider.
type ProviderChange struct {
	ID     string
	Status Status
	Reason string // for a person
}

// A Problem is something that an operator has to look at.
type Problem struct {
	What  string
	Since time.Time
	Todo  string
}

// A heldList remembers since when the credentials of providers wait for the
// operator's word. The zero heldList is empty.
type heldList struct {
	mu    sync.Mutex
	since map[string]time.Time // guarded by mu; by provider
}

func (l *heldList) note(provider string, held bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !held {
		delete(l.since, provider)
		return
	}
	if l.since == nil {
		l.since = map[string]time.Time{}
	}
	if _, ok := l.since[provider]; !ok {
		l.since[provider] = time.Now()
	}
}

func (l *heldList) all() map[string]time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make(map[string]time.Time, len(l.since))
	for provider, since := range l.since {
		all[provider] = since
	}
	return all
}

// ProviderChanged takes note that another definition is in force, or its source
// fares otherwise, and tells it: credentials that follow are tried again, and
// those that would have to follow to another host are counted.
func (b *Broker) ProviderChanged(ctx context.Context, change ProviderChange) {
	held := b.countHeld(ctx, change.ID)
	b.held.note(change.ID, held > 0)
	if held > 0 {
		change.Reason = strings.TrimPrefix(change.Reason+"; ", "; ") + b.heldText(change.ID, held)
	}
	b.Log.Info("a provider changed", "provider", change.ID, "status", string(change.Status), "reason", change.Reason)
	b.Events.Publish(Event{Type: EventProviderChanged, ProviderID: change.ID, Status: change.Status, Reason: change.Reason})
	if b.Trace.ProviderChanged != nil {
		b.Trace.ProviderChanged(change.Status)
	}
	if change.Status == ProviderAdded || change.Status == ProviderChanged {
		b.retryNow(ctx, change.ID)
		b.wakeRevocations()
	}
}

// findHeld looks at start which providers changed their hosts while nobody was
// here.
func (b *Broker) findHeld(ctx context.Context) {
	for _, d := range b.Definitions.Definitions() {
		if ctx.Err() != nil {
			return
		}
		if held := b.countHeld(ctx, d.ID); held > 0 {
			b.held.note(d.ID, true)
			b.Log.Warn("a provider changed its hosts", "provider", d.ID, "reason", b.heldText(d.ID, held))
		}
	}
}

// heldText says how many credentials wait for the operator's word, and on what.
func (b *Broker) heldText(provider string, held int) string {
	host := "another host"
	if d, err := b.Definitions.Definition(provider); err == nil {
		host = originOf(d.tokenURLs()[0], nil)
	}
	return fmt.Sprintf("%d of its credentials and apps were authorised with another token host than %s, and send nothing there", held, host)
}

// tellHeld says of a definition what waits for the operator's word, to callers
// who may administer: it counts credentials.
func (b *Broker) tellHeld(ctx context.Context, caller Caller, d *SourcedDefinition) {
	if access := b.Policy.For(caller); !access.Decide(VerbAdmin, nil).Allowed {
		return
	}
	if _, ok := b.held.all()[d.ID]; !ok {
		return
	}
	if count := b.countHeld(ctx, d.ID); count > 0 {
		d.Held = &Held{count, strings.Fields(d.origins(nil))}
	}
}

// countHeld counts the credentials, and the app, that the definition in force
// would have send secrets to a token host that they were not authorised with.
func (b *Broker) countHeld(ctx context.Context, provider string) (held int) {
	d, err := b.Definitions.Definition(provider)
	if err != nil {
		return 0
	}
	if app, err := b.Store.App(ctx, provider); err == nil && !d.appFollows(&app) {
		held++
	}
	for _, s := range b.Tokens.Provider(provider) {
		if b.isHeld(ctx, &d.Definition, s) {
			held++
		}
	}
	return held
}

// isHeld reads the credential only where its inputs matter.
func (b *Broker) isHeld(ctx context.Context, d *Definition, s Summary) bool {
	if s.Origins == "" || s.AuthType != AuthOAuth2 {
		return false
	}
	var inputs map[string]string
	for _, url := range d.tokenURLs() {
		if _, host, _, _ := splitURL(url); placeholder.MatchString(host) && inputs == nil {
			c, err := b.Store.Get(ctx, s.ID)
			if err != nil {
				return false
			}
			free := c
			free.Origins = ""
			connection, err := b.connections.with(ctx, *d, &free)
			if err != nil {
				return false
			}
			inputs = connection.Inputs
		}
		if !among(s.Origins, originOf(url, inputs)) {
			return true
		}
	}
	return false
}

// heldProblems are the providers whose credentials wait for the operator's word.
func (b *Broker) heldProblems(ctx context.Context) (problems []Problem) {
	for provider, since := range b.held.all() {
		held := b.countHeld(ctx, provider)
		if held == 0 {
			b.held.note(provider, false)
			continue
		}
		problems = append(problems, Problem{
			What:  "the definition of " + provider + " changed: " + b.heldText(provider, held),
			Since: since,
			Todo:  fmt.Sprintf("invectd providers %s, then invectd providers accept %s if it is right", provider, provider),
		})
	}
	return problems
}
