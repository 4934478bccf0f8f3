package refresher

import (
	"container/heap"
	"slices"
	"time"

	"github.com/invectd/invectd/broker"
)

// An entry is what is known of a credential beside its summary. All fields are
// guarded by [Refresher.mu].
type entry struct {
	id       broker.ID
	provider string
	endpoint string    // its circuit's; "" until it was asked
	due      time.Time // when the schedule refreshes it; zero if never
	// notBefore keeps the schedule, and nobody else, from it until then.
	notBefore time.Time
	// held says that it waits for the circuit of its endpoint, and for the token
	// after heldGeneration.
	held           bool
	heldGeneration uint64
	// doubt says that its refresh token may be spent, so that it comes first, and
	// graceUntil until when the provider takes that once more; zero if unknown.
	doubt      bool
	graceUntil time.Time
	place      place
	index      int       // in the heap, if it is there
	failure    *failure  // of the last attempt; nil if it succeeded
	unasked    time.Time // of an intent that may be stored and that no request followed
	kept       *pair     // tokens that the store has not taken yet; nil if none
}

// A place is where in the queue an entry is.
type place int

const (
	placeNone  place = iota // not scheduled, or its flight is under way
	placeHeap               // waiting to become due
	placeReady              // due, waiting in the lane of its provider
)

// A queue holds the entries by due time and, once they are due, by provider:
// they are taken in turn from each provider, so that a slow one, or one with
// very many, does not hold up the others. The caller locks.
type queue struct {
	workers     int // how many may run at once
	perProvider int // how many of one provider

	entries map[broker.ID]*entry
	heap    dueHeap
	lanes   map[string]*lane // by provider, those with anything ready or running
	turn    []*lane          // those with anything ready, the next to be served first
	running int
}

// A lane holds what is due of one provider.
type lane struct {
	ready   []*entry // what is in doubt first, then the oldest; those that are not placeReady any more are skipped
	running int
}

func newQueue(workers, perProvider int) queue {
	return queue{
		workers: workers, perProvider: perProvider,
		entries: map[broker.ID]*entry{}, lanes: map[string]*lane{},
	}
}

// entry returns that of a credential, which is made if need be.
func (q *queue) entry(id broker.ID, provider string) *entry {
	e, ok := q.entries[id]
	if !ok {
		e = &entry{id: id, provider: provider}
		q.entries[id] = e
	}
	return e
}

// set schedules an entry; for never, if due is zero.
func (q *queue) set(e *entry, due, now time.Time) {
	e.due = due
	if e.place == placeReady && !due.IsZero() && !due.After(now) {
		return // it keeps its turn
	}
	q.remove(e)
	if !due.IsZero() {
		e.place = placeHeap
		heap.Push(&q.heap, e)
	}
}

// remove takes an entry out of the order. In a lane it is skipped later.
func (q *queue) remove(e *entry) {
	if e.place == placeHeap {
		heap.Remove(&q.heap, e.index)
	}
	e.place = placeNone
}

func (q *queue) drop(id broker.ID) {
	if e, ok := q.entries[id]; ok {
		q.remove(e)
		delete(q.entries, id)
	}
}

// ripen moves what is due to the lanes, and returns when the next will be; zero
// if none is scheduled.
func (q *queue) ripen(now time.Time) (next time.Time) {
	for len(q.heap) > 0 {
		e := q.heap[0]
		if e.due.After(now) {
			return e.due
		}
		q.remove(e)
		e.place = placeReady
		l, ok := q.lanes[e.provider]
		if !ok {
			l = &lane{}
			q.lanes[e.provider] = l
		}
		if len(l.ready) == 0 {
			q.turn = append(q.turn, l)
		}
		if e.doubt {
			l.ready = slices.Insert(l.ready, 0, e)
		} else {
			l.ready = append(l.ready, e)
		}
	}
	return time.Time{}
}

// start takes the next entry whose turn it is and counts it as running until
// finish; nil if there is none, or none that may run now.
func (q *queue) start() *entry {
	for range len(q.turn) {
		if q.running >= q.workers {
			return nil
		}
		l := q.turn[0]
		q.turn = q.turn[1:]
		var e *entry
		if l.running < q.perProvider {
			e = l.take()
		}
		if len(l.ready) > 0 {
			q.turn = append(q.turn, l)
		}
		if e != nil {
			e.place = placeNone
			l.running++
			q.running++
			return e
		}
	}
	return nil
}

// take removes the first entry that is still ready; nil if none is.
func (l *lane) take() *entry {
	for len(l.ready) > 0 {
		e := l.ready[0]
		l.ready[0] = nil
		l.ready = l.ready[1:]
		if e.place == placeReady {
			return e
		}
	}
	return nil
}

// finish gives back what start took.
func (q *queue) finish(e *entry) {
	q.running--
	l := q.lanes[e.provider]
	l.running--
	if l.running == 0 && len(l.ready) == 0 {
		delete(q.lanes, e.provider)
	}
}

// A dueHeap implements [heap.Interface], the earliest first.
type dueHeap []*entry

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }

func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements [heap.Interface].
func (h *dueHeap) Push(x any) {
	e := x.(*entry)
	e.index = len(*h)
	*h = append(*h, e)
}

// Pop implements [heap.Interface].
func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return e
}
