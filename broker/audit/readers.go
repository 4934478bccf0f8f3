package audit

import (
	"hash/maphash"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/invectd/invectd/broker"
)

const (
	shardCount   = 64
	readersShard = 1024 // beyond them a shard forgets one, whose next read is a first one again
)

// readers count reads. A repeated one takes a lock that only first reads of the
// same shard hold for longer, and touches no disk.
type readers struct {
	seed   maphash.Seed
	shards *[shardCount]shard
}

type shard struct {
	mu      sync.RWMutex
	readers map[readKey]*reader // guarded by mu
}

// A readKey is what repeats are counted by.
type readKey struct {
	who        who
	verb       broker.Verb
	credential broker.ID
}

// A reader is who reads one credential again and again.
type reader struct {
	entry      broker.AuditEntry // of the first read
	generation uint64            // guarded by the shard's mu
	repeats    atomic.Uint64     // of that generation, not written yet
	since      atomic.Int64      // Unix nanoseconds; when the first of those was
}

func newReaders() readers {
	r := readers{maphash.MakeSeed(), new([shardCount]shard)}
	for i := range r.shards {
		r.shards[i].readers = map[readKey]*reader{}
	}
	return r
}

// read counts one read. It reports whether it is the first of a generation; a
// line about what was counted before has to be written first, if there is one.
func (r *readers) read(key readKey, generation uint64, e broker.AuditEntry) (first bool, before *Line) {
	s := &r.shards[maphash.Comparable(r.seed, key)%shardCount]
	s.mu.RLock()
	known, ok := s.readers[key]
	ok = ok && known.generation == generation
	if ok {
		known.count()
	}
	s.mu.RUnlock()
	if ok {
		return false, nil
	}
	return s.first(key, generation, e)
}

func (r *reader) count() {
	if r.repeats.Add(1) == 1 {
		r.since.Store(time.Now().UnixNano())
	}
}

// first takes note of a new generation, unless somebody was faster.
func (s *shard) first(key readKey, generation uint64, e broker.AuditEntry) (first bool, before *Line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.readers[key]
	switch {
	case ok && known.generation == generation:
		known.count()
		return false, nil
	case ok && known.generation > generation: // it was slower than one who got the next token
		return true, nil
	case ok:
		before = known.take()
	case len(s.readers) >= readersShard:
		for old, forgotten := range s.readers {
			before = forgotten.take()
			delete(s.readers, old)
			break
		}
	}
	s.readers[key] = &reader{entry: e, generation: generation}
	return true, before
}

// take returns the line about what was counted, nil if there is nothing.
func (r *reader) take() *Line {
	repeats := r.repeats.Swap(0)
	if repeats == 0 {
		return nil
	}
	line := decided(EventReads, r.entry)
	line.Generation, line.Count, line.Since = r.generation, repeats, new(time.Unix(0, r.since.Load()).UTC())
	return line
}

// counts yields a line for each reader that read again.
func (r *readers) counts() iter.Seq[*Line] {
	return func(yield func(*Line) bool) {
		for i := range r.shards {
			for _, line := range r.shards[i].counts() {
				if !yield(line) {
					return
				}
			}
		}
	}
}

func (s *shard) counts() (lines []*Line) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, r := range s.readers {
		if line := r.take(); line != nil {
			lines = append(lines, line)
		}
	}
	return lines
}
