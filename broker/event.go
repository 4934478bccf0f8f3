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
	EventPluginChanged   EventType = "plugin.changed"
)

// An Event tells whoever listens that something changed. It holds no secret.
type Event struct {
	// ID grows with each event, over restarts too.
	ID           uint64
	Type         EventType
	CredentialID ID     // of a credential event
	ProviderID   string // of a provider event
	Plugin       string // of a plugin event
	Status       Status // of the credential, afterwards; of a plugin event its [PluginState]
	Reason       string // for a person; "" if there is none
	At           time.Time
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

// Listen returns the hub for a caller who may list.
func (b *Broker) Listen(caller Caller) (*Events, error) {
	if err := b.authorize(caller, VerbList, "", "events"); err != nil {
		return nil, err
	}
	return b.Events, nil
}
