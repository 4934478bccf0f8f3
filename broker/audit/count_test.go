package audit

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/invectd/invectd/broker"
)

var reading = broker.AuditEntry{Caller: runner, Verb: broker.VerbToken, CredentialID: "c1", Rule: "mail"}

func handout(generation uint64) broker.Handout {
	return broker.Handout{Generation: generation, Secret: broker.NewSecret(fmt.Sprint("token", generation))}
}

// TestReadsAreCounted writes the first read of a generation, and counts further
// ones once a minute and at the end.
func TestReadsAreCounted(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l := open(t, Config{Dir: dir})
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = l.Run(ctx) })
		for range 10 {
			l.Read(reading, handout(7))
		}
		time.Sleep(countEvery + time.Second) // virtual
		synctest.Wait()
		for range 3 {
			l.Read(reading, handout(7))
		}
		l.Read(reading, handout(8))
		other := reading
		other.Caller.UID = 1001
		l.Read(other, handout(8))
		l.Read(reading, handout(8))
		stop()
		running.Wait()
		closeLog(t, l)
	})
	var got []string
	for _, line := range lines(t, dir) {
		switch line.Event {
		case EventRead, EventReads:
			got = append(got, fmt.Sprint(line.Event, " ", *line.Caller.UID, " ", line.Generation, " ", line.Count))
		}
	}
	want := []string{"read 1000 7 0", "reads 1000 7 9", "reads 1000 7 3", "read 1000 8 0", "read 1001 8 0", "reads 1000 8 1"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the lines are %v, want %v", got, want)
	}
	wantWhole(t, dir)
}

// TestReadsFromAllSides loses none, however many read at once while generations
// come and go.
func TestReadsFromAllSides(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Config{Dir: dir})
	const readers, each = 8, 500
	var all sync.WaitGroup
	for r := range readers {
		all.Go(func() {
			for i := range each {
				d := reading
				d.Caller.UID = uint32(1000 + r%2)
				l.Read(d, handout(uint64(1+i/100)))
			}
		})
	}
	all.Wait()
	closeLog(t, l)
	wantWhole(t, dir)
	var count, first uint64
	for _, line := range lines(t, dir) {
		switch line.Event {
		case EventRead:
			first++
		case EventReads:
			count += line.Count
		}
	}
	if first+count != readers*each || first < 10 {
		t.Errorf("%d reads have a line and %d are counted, want %d together", first, count, readers*each)
	}
}

// TestDenialFlood bounds what one caller can have written, and spares others.
func TestDenialFlood(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Config{Dir: dir})
	const flood = 10_000
	for i := range flood {
		d := reading
		d.CredentialID, d.Target = "", fmt.Sprint("guess", i)
		l.Denied(d)
	}
	honest := reading
	honest.Caller.UID = 1001
	l.Denied(honest)
	l.writeCounts()
	l.Denied(reading)
	closeLog(t, l)
	lineCount, counted, others := 0, uint64(0), 0
	for _, line := range lines(t, dir) {
		switch {
		case line.Event == EventDenied && *line.Caller.UID == 1001:
			others++
		case line.Event == EventDenied:
			lineCount++
		case line.Event == EventDenials:
			counted += line.Count
		}
	}
	if lineCount != denialsAtOnce+1 || counted != flood-denialsAtOnce || others != 1 {
		t.Errorf("%d denials have a line and %d are counted, and %d of another caller, want %d, %d and 1", lineCount, counted, others, denialsAtOnce+1, flood-denialsAtOnce)
	}
	wantWhole(t, dir)
}

// TestManyCallersDenied bounds the memory that many callers take.
func TestManyCallersDenied(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Config{Dir: dir})
	for uid := range uint32(2 * deniedCallers) {
		d := reading
		d.Caller.UID = uid
		for range denialsAtOnce + 1 {
			l.denials.few(d, time.Now())
		}
	}
	if n := len(l.denials.callers); n != deniedCallers+1 {
		t.Errorf("%d callers are told apart, want %d", n, deniedCallers+1)
	}
	closeLog(t, l)
	wantWhole(t, dir)
}

// TestManyReaders forgets readers beyond a bound, and their counts do not get lost.
func TestManyReaders(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Config{Dir: dir})
	s := &l.readers.shards[0]
	for i := range readersShard {
		s.first(readKey{credential: broker.ID(fmt.Sprint(i))}, 1, reading)
	}
	for _, r := range s.readers {
		r.count()
	}
	first, before := s.first(readKey{credential: "one more"}, 1, reading)
	if !first || before == nil || before.Count != 1 || len(s.readers) != readersShard {
		t.Errorf("first = %t, %+v, and %d are known, want true, a count of 1 and %d", first, before, len(s.readers), readersShard)
	}
}

// TestChangesAreSyncedTogether has many wait for few syncs.
func TestChangesAreSyncedTogether(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Config{Dir: dir})
	const callers, each = 16, 10
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for range each {
				number, err := l.Begin(someone)
				if err != nil || l.synced.Load() < number {
					t.Errorf("Begin = %d, %v with the lines to %d on disk", number, err, l.synced.Load())
				}
				l.End(number, someone, broker.Outcome{})
			}
		})
	}
	all.Wait()
	closeLog(t, l)
	if r := wantWhole(t, dir); r.Lines != 3+2*callers*each {
		t.Errorf("there are %d lines, want %d", r.Lines, 3+2*callers*each)
	}
}

func BenchmarkRepeatedRead(b *testing.B) {
	l, err := Open(Config{Dir: b.TempDir(), Key: testKey, Log: discard})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	h := handout(7)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l.Read(reading, h)
		}
	})
}

func BenchmarkFirstRead(b *testing.B) {
	l, err := Open(Config{Dir: b.TempDir(), Key: testKey, Log: discard})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	for i := uint64(0); b.Loop(); i++ {
		l.Read(reading, handout(i+1))
	}
}

func BenchmarkChange(b *testing.B) {
	l, err := Open(Config{Dir: b.TempDir(), Key: testKey, Log: discard})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			number, err := l.Begin(someone)
			if err != nil {
				b.Error(err)
			}
			l.End(number, someone, broker.Outcome{})
		}
	})
}
