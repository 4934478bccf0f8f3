package broker

import (
	"context"
	"sync"
	"time"
)

// An EventType says what happened.
type EventType string

// The types of events, with the names of the contract.
const (
	EventCreated         EventType = "credential.created"
	EventUpdated         EventType = "credential.updated"
	EventRefreshed       EventType = "credential.refreshed"
	EventRefreshFailed   EventType = "credential.refresh_failed"
	EventReauth          EventType = "credential.reauth_required"
	EventRecovered       EventType = "credential.recovered"
	EventDeleted         EventType = "credential.deleted"
	EventProviderChanged EventType = "provider.changed"
	// EventRevocationFailed: the tokens of a deleted credential were not revoked,
	// and it is given up.
	EventRevocationFailed EventType = "credential.revocation_failed"
	EventPluginChanged    EventType = "plugin.changed"
)

// An Event tells whoever listens that something changed. It holds no secret.
type Event struct {
	// ID grows with each event, over restarts too.
	ID           uint64
	Type         EventType
	CredentialID ID     // of a credential event
	ProviderID   string // of a provider event
	Plugin       string // of a plugin event
	Status       Status // of the credential or the provider, afterwards; of a plugin its [PluginState]
	Reason       string // for a person; "" if there is none
	At           time.Time

	about *Subject // what a deleted credential was last
}

// eventsKept is how many events somebody may have missed and still get.
const eventsKept = 1024

// Events hands events to whoever waits for them. A listener that is slower than
// [eventsKept] events misses the oldest, and sees it by a gap in the ids; it
// never slows anybody down. All methods may be called concurrently.
type Events struct {
	mu   sync.Mutex
	last uint64        // guarded by mu: the id of the newest event
	kept []Event       // guarded by mu: the newest, in order
	more chan struct{} // guarded by mu: closed when an event comes
}

// NewEvents returns an empty hub. Its ids begin at the time of day in
// microseconds, so that they go on growing over restarts.
func NewEvents() *Events {
	return &Events{last: uint64(time.Now().UnixMicro()), more: make(chan struct{})}
}

// Publish gives e its id and time and hands it out.
func (e *Events) Publish(event Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last++
	event.ID, event.At = e.last, time.Now().UTC()
	if len(e.kept) == eventsKept {
		e.kept = append(e.kept[:0], e.kept[eventsKept/2:]...)
	}
	e.kept = append(e.kept, event)
	close(e.more)
	e.more = make(chan struct{})
}

// Last returns the id of the newest event.
func (e *Events) Last() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.last
}

// After returns the kept events with ids above id, in order, and waits for one
// if there is none yet. The error is that of ctx.
func (e *Events) After(ctx context.Context, id uint64) ([]Event, error) {
	for {
		events, more := e.after(id)
		if len(events) > 0 {
			return events, nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (e *Events) after(id uint64) ([]Event, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, event := range e.kept {
		if event.ID > id {
			return append([]Event(nil), e.kept[i:]...), e.more
		}
	}
	return nil, e.more
}

// LastEvent returns the id of the newest event, for a caller who may list.
func (b *Broker) LastEvent(caller Caller) (uint64, error) {
	if _, err := b.authorize(caller, VerbList, "events"); err != nil {
		return 0, err
	}
	return b.Events.Last(), nil
}

// EventsAfter waits for events with ids above id, as [Events.After] does, and
// returns those that are for caller, maybe none, and the id of the last there was.
func (b *Broker) EventsAfter(ctx context.Context, caller Caller, id uint64) (mine []Event, last uint64, err error) {
	events, err := b.Events.After(ctx, id)
	if err != nil {
		return nil, id, err
	}
	access := b.Policy.For(caller)
	for _, event := range events {
		hears, err := b.hears(ctx, &access, event)
		if err != nil {
			return nil, id, err
		}
		if hears {
			mine = append(mine, event)
		}
	}
	return mine, events[len(events)-1].ID, nil
}

// hears reports whether an event is for a caller: one of a credential for those
// who may list that, as it is now or was at its end.
func (b *Broker) hears(ctx context.Context, access *Access, event Event) (bool, error) {
	if event.CredentialID == "" {
		return access.Decide(VerbList, nil).Allowed, nil
	}
	e, ok := b.Tokens.get(event.CredentialID)
	switch {
	case ok:
		d, err := b.decide(ctx, access, VerbList, e)
		return d.Allowed, err
	case event.about != nil:
		return access.Decide(VerbList, event.about).Allowed, nil
	}
	return access.Decide(VerbList, &Subject{ID: event.CredentialID}).Allowed, nil
}
