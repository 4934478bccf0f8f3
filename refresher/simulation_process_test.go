package refresher_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
	disks "github.com/invectd/invectd/broker/store"
)

// A process is one life of the daemon. Once it is dead nothing that it does has
// an effect, and nothing that it learns counts.
type process struct {
	broker.Store // the disk
	s            *simulation
	died         chan struct{} // closed then
	once         sync.Once
}

var errCrashed = fmt.Errorf("crashed: %w", broker.ErrStoreUnavailable)

func (p *process) alive() bool {
	select {
	case <-p.died:
		return false
	default:
		return true
	}
}

func (p *process) kill() { p.once.Do(func() { close(p.died) }) }

// reach is called at every point of the protocol, and kills the process where a
// crash was planned for it.
func (p *process) reach(point string, id broker.ID) {
	p.s.mu.Lock()
	planned := p.s.crashAt == crashPoint{point, id} && p.alive()
	if planned {
		p.s.crashAt = crashPoint{}
	}
	p.s.mu.Unlock()
	if planned {
		p.kill()
	}
}

// A crashPoint is a point of the protocol for one credential.
type crashPoint struct {
	point string
	id    broker.ID
}

// crashPoints are where a crash can be planned.
var crashPoints = []string{
	"before intent", "after intent", "asked", "answered",
	"before commit", "after commit", "before outcome", "after outcome", "before other", "after other",
}

// pass fails where the process is dead or the store does not do that step now.
func (p *process) pass(step string, id broker.ID) error {
	p.reach("before "+step, id)
	if !p.alive() {
		return errCrashed
	}
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if p.s.failing[step] {
		return fmt.Errorf("no space left: %w", broker.ErrStoreUnavailable)
	}
	return nil
}

func (p *process) Writable(ctx context.Context) error {
	if err := p.pass("writable", ""); err != nil {
		return err
	}
	return p.Store.Writable(ctx)
}

func (p *process) Get(ctx context.Context, id broker.ID) (broker.Credential, error) {
	if !p.alive() {
		return broker.Credential{}, errCrashed
	}
	return p.Store.Get(ctx, id)
}

func (p *process) Create(ctx context.Context, c broker.Credential) (broker.Credential, error) {
	if err := p.pass("other", c.ID); err != nil {
		return broker.Credential{}, err
	}
	c, err := p.Store.Create(ctx, c)
	return p.wrote("other", c, err)
}

func (p *process) Delete(ctx context.Context, id broker.ID) error {
	if err := p.pass("other", id); err != nil {
		return err
	}
	err := p.Store.Delete(ctx, id)
	p.reach("after other", id)
	if err == nil && !p.alive() {
		return errCrashed
	}
	return err
}

func (p *process) Update(ctx context.Context, id broker.ID, change func(*broker.Credential) error) (broker.Credential, error) {
	p.s.busy(p)
	step := ""
	c, err := p.Store.Update(ctx, id, func(c *broker.Credential) error {
		old := *c
		if err := change(c); err != nil {
			return err
		}
		step = stepOf(old, *c)
		return p.pass(step, id)
	})
	return p.wrote(step, c, err)
}

// wrote takes note of what is durable from now on. The process may die between
// that and hearing of it.
func (p *process) wrote(step string, c broker.Credential, err error) (broker.Credential, error) {
	if err != nil {
		return c, err
	}
	p.s.remember(c)
	p.reach("after "+step, c.ID)
	p.s.mu.Lock()
	lies := p.s.lying[step]
	p.s.mu.Unlock()
	switch {
	case !p.alive():
		return broker.Credential{}, errCrashed
	case lies:
		return broker.Credential{}, fmt.Errorf("the disk does not say whether it has it: %w", broker.ErrStoreUnavailable)
	}
	return c, nil
}

func stepOf(old, c broker.Credential) string {
	switch {
	case c.Status != old.Status && c.LastRefreshAt == old.LastRefreshAt, c.RetryAt != old.RetryAt && !c.RetryAt.IsZero():
		return "outcome"
	case c.Intent != nil && (old.Intent == nil || c.Intent.At != old.Intent.At):
		return "intent"
	case c.LastRefreshAt != old.LastRefreshAt:
		return "commit"
	case c.Status != old.Status || c.RetryAt != old.RetryAt || c.Intent != old.Intent:
		return "outcome"
	}
	return "other"
}

// A disk is what outlives a process.
type disk interface {
	// boot returns the store as the next process finds it.
	boot(t testing.TB) broker.Store
	// shut ends the use of a store whose process is dead; a crash leaves it as it
	// is at this moment.
	shut(t testing.TB, crash bool)
}

// memoryDisk keeps what was acknowledged. What was not is kept or lost as the
// crash points before and after each write have it.
type memoryDisk struct{ brokertest.MemStore }

func (d *memoryDisk) boot(testing.TB) broker.Store { return &d.MemStore }
func (d *memoryDisk) shut(testing.TB, bool)        {}

// badgerDisk is a real store on a real disk. A crash takes an image of its
// folder while it is open, and goes on with that.
type badgerDisk struct {
	folder string
	lives  int
	db     *disks.DB
}

const simKey = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="

func (d *badgerDisk) dir() string { return filepath.Join(d.folder, fmt.Sprint("life-", d.lives)) }

func (d *badgerDisk) boot(t testing.TB) broker.Store {
	t.Helper()
	key, err := disks.ParseKey(simKey)
	if err == nil {
		d.db, err = disks.Open(disks.Config{Dir: d.dir(), Key: key})
	}
	if err != nil {
		t.Fatalf("opening the store after a crash: %v", err)
	}
	return d.db
}

func (d *badgerDisk) shut(t testing.TB, crash bool) {
	t.Helper()
	var err error
	last := d.dir()
	if crash {
		d.lives++
		err = errors.Join(os.CopyFS(d.dir(), os.DirFS(last)), os.Chmod(d.dir(), 0o700))
	}
	if err = errors.Join(err, d.db.Close()); err != nil {
		t.Fatalf("leaving the store: %v", err)
	}
	if crash {
		os.RemoveAll(last)
	}
}
