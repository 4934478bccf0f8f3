package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/invectd/invectd/broker"
)

// Config says where a log is kept. The times and sizes are for tests to change.
type Config struct {
	// Dir is the data directory: the lines lie in its folder "audit", the head
	// beside that.
	Dir string
	// Key is 32 bytes that stay the same for as long as the log.
	Key []byte
	// Anchor remembers the last line. Optional.
	Anchor Anchor
	// Log hears of trouble, and of the last line from time to time.
	Log *slog.Logger

	MaxSize int64         // of a file in bytes; 16 MiB if zero
	MaxAge  time.Duration // of a file; a week if zero
	Keep    int           // files; 64 if zero
}

const (
	folderName = "audit"
	headName   = "audit.head"

	defaultSize = 16 << 20
	defaultAge  = 7 * 24 * time.Hour
	defaultKeep = 64
)

func (c *Config) complete() {
	if c.MaxSize == 0 {
		c.MaxSize = defaultSize
	}
	if c.MaxAge == 0 {
		c.MaxAge = defaultAge
	}
	if c.Keep == 0 {
		c.Keep = defaultKeep
	}
}

func (c *Config) folder() string { return filepath.Join(c.Dir, folderName) }

// A Log is open for writing. It implements [broker.Auditor]. Its [Log.Run] has to
// run beside it.
type Log struct {
	config  Config
	keys    keyset
	readers readers
	denials denials
	dirty   chan struct{} // holds one: Run syncs

	told    link          // to the anchor; owned by Run, and then by Close
	syncing sync.Mutex    // held by who syncs; taken before mu
	synced  atomic.Uint64 // the lines up to this one are on disk

	mu      sync.Mutex
	file    *os.File  // guarded by mu; nil where none could be opened
	head    *head     // guarded by mu; nil where it could not be opened
	size    int64     // guarded by mu; of file
	begun   time.Time // guarded by mu; when file was
	last    link      // guarded by mu
	failure error     // guarded by mu; why the last line could not be written
	since   time.Time // guarded by mu; when the first of the missed ones was due
	missed  uint64    // guarded by mu; lines that were not written and are not told of yet
	altered bool      // guarded by mu; by somebody else

	missedBefore uint64 // guarded by mu; lines that were not written, and are told of
}

var _ broker.Auditor = (*Log)(nil)

// Open opens the log of a data directory that this process alone writes to, or
// begins one. What a crash left is mended and told in a line, and so is what
// somebody removed. A disk that cannot be written is no error: changes are
// refused until it can.
func Open(c Config) (*Log, error) {
	c.complete()
	k, err := deriveKeys(c.Key)
	if err != nil {
		return nil, err
	}
	l := &Log{config: c, keys: k, readers: newReaders(), denials: newDenials(), dirty: make(chan struct{}, 1)}
	notes := l.recover()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, note := range notes {
		c.Log.Error("the audit log is not as it was left", "detail", note.Detail)
		_ = l.write(note) // where it fails, the failure is told
	}
	_ = l.write(&Line{Event: EventStarted})
	l.dirty <- struct{}{}
	l.tell()
	return l, nil
}

// tell logs the last line, for somebody outside to keep. l.mu is held.
func (l *Log) tell() {
	l.config.Log.Info("audit", "line", l.last.seq, "mac", l.last.mac.String())
}

// A Position is the last line of a log.
type Position struct {
	Line uint64
	MAC  string // in hex
}

// A State is how a log is.
type State struct {
	Position
	// Failure is why the last line could not be written; it wraps
	// [broker.ErrStoreUnavailable]. Nil if it was.
	Failure error
	// Missed counts the lines that could not be written since the start.
	Missed uint64
	// Altered says that since the start, or at it, something was found that only
	// somebody else can have done.
	Altered bool
}

// State returns how the log is.
func (l *Log) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return State{Position{l.last.seq, l.last.mac.String()}, l.failure, l.missedBefore + l.missed, l.altered}
}

// append writes a line and returns its number. The line outlives the process, and
// is on disk after the next sync.
func (l *Log) append(line *Line) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.write(line)
	select {
	case l.dirty <- struct{}{}:
	default:
	}
	return l.last.seq, err
}

// write writes a line. l.mu is held.
func (l *Log) write(line *Line) error {
	err := l.prepare()
	if err == nil {
		err = l.put(line)
	}
	if err != nil {
		l.miss(err)
		return l.failure
	}
	return nil
}

// prepare sees to it that there is a file to write to, a new one where it is time
// for one, and tells what could not be written before. l.mu is held.
func (l *Log) prepare() error {
	if err := l.makeRoom(); err != nil {
		return err
	}
	if l.failure == nil {
		return nil
	}
	since := l.since
	if err := l.put(&Line{Event: EventMissed, Count: l.missed, Since: &since}); err != nil {
		return err
	}
	l.config.Log.Info("the audit log is written again", "missed", l.missed)
	l.failure, l.missedBefore, l.missed = nil, l.missedBefore+l.missed, 0
	return nil
}

// miss counts a line that was not written. The log hears of the first.
func (l *Log) miss(err error) {
	if l.failure == nil {
		l.config.Log.Error("the audit log cannot be written, so changes are refused", "error", err)
	}
	if l.missed++; l.missed == 1 {
		l.since = time.Now().UTC()
	}
	l.failure = fmt.Errorf("%w: writing the audit log: %w", broker.ErrStoreUnavailable, err)
}

// put appends a line to the file. Of one that does not fit nothing is left.
func (l *Log) put(line *Line) error {
	line.Seq, line.At = l.last.seq+1, time.Now().UTC()
	encoded, at, err := line.encode(l.keys, l.last)
	if err != nil {
		return err
	}
	if _, err := l.file.WriteAt(encoded, l.size); err != nil {
		if cut := l.file.Truncate(l.size); cut != nil {
			l.abandon()
		}
		return err
	}
	l.size += int64(len(encoded))
	l.last = at
	l.writeHead()
	return nil
}

// writeHead tells the last line. Where that fails the line stands all the same;
// that its removal would go unnoticed is worth a word. l.mu is held.
func (l *Log) writeHead() {
	if l.head == nil {
		return
	}
	if err := l.head.write(mark{l.last, l.synced.Load()}); err != nil {
		l.config.Log.Error("the head of the audit log cannot be written", "error", err)
	}
}

// sync returns once the lines up to number are on disk. Those who wait for a sync
// under way are served by the next one together.
func (l *Log) sync(number uint64) error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	if l.synced.Load() >= number {
		return nil
	}
	l.mu.Lock()
	file, last := l.file, l.last.seq
	l.mu.Unlock()
	if file == nil {
		return l.State().Failure
	}
	err := file.Sync()
	if err == nil {
		l.reached(last)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.writeHead()
		return nil
	}
	if errors.Is(err, os.ErrClosed) && l.synced.Load() >= number { // another file was begun meanwhile
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == file {
		// Nobody knows what of it is on disk, and a second sync would not say.
		l.abandon()
	}
	l.miss(fmt.Errorf("syncing it: %w", err))
	return l.failure
}

// reached notes that the lines up to number are on disk.
func (l *Log) reached(number uint64) {
	for {
		synced := l.synced.Load()
		if number <= synced || l.synced.CompareAndSwap(synced, number) {
			return
		}
	}
}

const (
	syncDelay  = 100 * time.Millisecond // the longest that a line may be lost to a power cut
	countEvery = time.Minute            // the repeats
	retryEvery = 5 * time.Second        // while nothing can be written
	tellLastIn = 60                     // how many counts there are between two words of the last line
)

// Run syncs what is written, and writes down what is counted, until ctx ends.
func (l *Log) Run(ctx context.Context) error {
	count, retry := time.NewTicker(countEvery), time.NewTicker(retryEvery)
	defer count.Stop()
	defer retry.Stop()
	for counts := 1; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-l.dirty:
			l.syncSoon(ctx)
		case <-retry.C:
			l.retry()
		case <-count.C:
			l.look()
			l.writeCounts()
			if l.config.Anchor != nil {
				l.dropAnchor(ctx)
			}
			if counts++; counts%tellLastIn == 0 {
				l.mu.Lock()
				l.tell()
				l.mu.Unlock()
			}
		}
	}
}

func (l *Log) syncSoon(ctx context.Context) {
	wait := time.NewTimer(syncDelay)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
	_ = l.sync(l.State().Line) // it is told where it fails
}

// retry looks whether lines can be written again, even if there are none.
func (l *Log) retry() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure != nil {
		_ = l.prepare() // what it says was told already
	}
}

// Close writes what is counted, and closes the log. It must be called once
// nobody else uses it any more.
func (l *Log) Close() error {
	l.writeCounts()
	stopped, _ := l.append(&Line{Event: EventStopped})
	err := l.sync(stopped)
	if l.config.Anchor != nil {
		l.dropAnchor(context.Background())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tell()
	if l.file != nil {
		err = errors.Join(err, l.file.Close())
	}
	if l.head != nil {
		err = errors.Join(err, l.head.close())
	}
	if err != nil {
		return fmt.Errorf("closing the audit log: %w", err)
	}
	return nil
}
