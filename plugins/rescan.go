package plugins

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/invectd/invectd/broker"
)

// Rescan looks at the folder of --providers-dir, and puts what it holds into
// force, all at once: readers see the old or the new. It returns what changed,
// and whether something is going on that it should be called again for soon.
//
// A file that is broken keeps its last good definition in force. One that
// vanished leaves it to the credentials that use it, see [Config.InUse]. Both
// hold over a restart, since last good definitions are kept in the store.
func (r *Registry) Rescan(ctx context.Context) (changed []broker.ProviderChange, again bool) {
	r.changes.Lock()
	defer r.changes.Unlock()
	now := time.Now()
	again, err := r.folder.scan(now, r.checked)
	r.note(&r.folder.problem, r.folder.dir, err, now)
	if err != nil {
		return nil, false // nothing is known of the files, so all stays as it is
	}
	before := r.inForce.Load()
	r.assign(now)
	r.publish()
	if !r.keep(ctx) {
		again = true
	}
	return compare(before, r.inForce.Load()), again
}

// assign gives each file the id that it asks for, unless another has it, and
// works out the definitions of the source. r.changes is held.
func (r *Registry) assign(now time.Time) {
	next, states := map[string]broker.Definition{}, map[string]state{}
	holder := map[string]*file{}
	files := r.folder.ordered()
	for _, f := range files {
		if f.missing > 0 || !f.read.done {
			continue
		}
		err := f.read.err
		if err == nil {
			err = r.claim(f, holder)
		}
		r.note(&f.problem, f.path, err, now)
		if err == nil {
			holder[f.read.definition.ID] = f
			files = append(files, r.folder.orphan(f)...)
			good := f.read.definition
			f.good = &good
			next[f.good.ID] = *f.good
		}
	}
	for _, f := range files {
		if f.good == nil || holder[f.good.ID] == f {
			continue
		}
		if _, taken := next[f.good.ID]; taken {
			f.good = nil // another file has taken it over
			continue
		}
		since := now
		if old := r.states[f.good.ID]; old.status == broker.ProviderGone {
			since = old.since
		}
		switch {
		case f.missing == 0 && f.problem.err != nil:
			states[f.good.ID] = state{broker.ProviderStale, "the last good definition stays in force: " + f.problem.text(), f.problem.since}
		case !f.gone():
			states[f.good.ID] = r.states[f.good.ID]
		case r.config.InUse != nil && r.config.InUse(f.good.ID):
			states[f.good.ID] = state{broker.ProviderGone, f.path + " does not hold it any more; its last good definition stays in force for the credentials that use it", since}
		default:
			f.good = nil
			continue
		}
		next[f.good.ID] = *f.good
	}
	for path, f := range r.folder.files {
		if f.good == nil && f.gone() {
			delete(r.folder.files, path)
		}
	}
	r.sources[broker.SourceFile], r.states = next, states
}

// claim returns why a file does not get the id that it asks for. r.changes is
// held.
func (r *Registry) claim(f *file, holder map[string]*file) error {
	d := &f.read.definition
	if other, ok := holder[d.ID]; ok {
		return &SyntaxError{f.path, f.read.lines.of("id"), fmt.Sprintf("the id %q is that of %s already; choose another", d.ID, other.path)}
	}
	if earlier, ok := r.earlier(d.ID, broker.SourceFile); ok && !d.Override {
		return &SyntaxError{f.path, f.read.lines.of("id"), fmt.Sprintf("the id %q is that of %s; add override: true to replace it, or choose another", d.ID, told[earlier])}
	}
	return nil
}

// note takes a problem of a file or another thing down, and logs what is new
// about it.
func (r *Registry) note(p *problem, of string, err error, now time.Time) {
	switch news := p.note(err, now); {
	case news && err != nil:
		r.config.Log.Error("a provider definition is not in force", "error", p.text())
	case news:
		r.config.Log.Info("what was wrong with provider definitions was mended", "in", of)
	}
}

// keep makes the store agree with the last good definitions, and reports whether
// it does. r.changes is held.
func (r *Registry) keep(ctx context.Context) bool {
	want := map[string]broker.KeptDefinition{}
	for id, d := range r.sources[broker.SourcePlugin] {
		want[id] = broker.KeptDefinition{Definition: d, Plugin: r.pluginOf[id]}
	}
	for _, f := range r.folder.files {
		if f.good != nil {
			want[f.good.ID] = broker.KeptDefinition{Definition: *f.good, File: f.path}
		}
	}
	changes := map[string]func() error{}
	for id := range r.kept {
		if _, ok := want[id]; !ok {
			changes[id] = func() error { return r.config.Store.DropDefinition(ctx, id) }
		}
	}
	for id, k := range want {
		if old, ok := r.kept[id]; !ok || !reflect.DeepEqual(old, k) {
			changes[id] = func() error { return r.config.Store.KeepDefinition(ctx, k) }
		}
	}
	err := allAtOnce(changes)
	if err == nil {
		r.kept = want
	}
	r.note(&r.keeping, "the store", err, time.Now())
	return err == nil
}

// allAtOnce makes all changes side by side, since the store folds them into one
// write, and returns one of the errors.
func allAtOnce(changes map[string]func() error) error {
	var wg sync.WaitGroup
	errs := make(chan error, len(changes))
	for id, change := range changes {
		wg.Go(func() {
			if err := change(); err != nil && !errors.Is(err, broker.ErrNotFound) {
				errs <- fmt.Errorf("keeping the definition of provider %q: %w", id, err)
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

// compare tells what became of each definition in force.
func compare(before, after *view) (changes []broker.ProviderChange) {
	for _, d := range after.sorted {
		old, known := before.byID[d.ID]
		change := broker.ProviderChange{ID: d.ID, Status: broker.ProviderChanged, Reason: d.Reason}
		switch {
		case !known:
			change.Status = broker.ProviderAdded
		case d.State != "" && d.State != old.State:
			change.Status = d.State
		case old.State == d.State && old.Reason == d.Reason && old.Source == d.Source && reflect.DeepEqual(old.Definition, d.Definition):
			continue
		}
		if change.Reason == "" {
			change.Reason = "from " + told[d.Source]
		}
		changes = append(changes, change)
	}
	for _, d := range before.sorted {
		if _, ok := after.byID[d.ID]; !ok {
			changes = append(changes, broker.ProviderChange{ID: d.ID, Status: broker.ProviderRemoved, Reason: "no source has it any more"})
		}
	}
	return changes
}

// maxProblems is how many problems are told one by one.
const maxProblems = 20

// Problems are what the operator has to mend.
func (r *Registry) Problems() (problems []broker.Problem) {
	r.changes.Lock()
	defer r.changes.Unlock()
	add := func(p *problem, todo string) {
		if p.err != nil {
			problems = append(problems, broker.Problem{What: p.text(), Since: p.since, Todo: todo})
		}
	}
	add(&r.folder.problem, "mend the folder; the definitions that were read before stay in force")
	add(&r.keeping, "free space on the disk of the data folder, and read the log")
	for _, f := range r.folder.ordered() {
		todo := "mend the file; no definition is in force from it"
		if f.good != nil {
			todo = "mend the file; its last good definition stays in force"
		}
		add(&f.problem, todo)
	}
	if more := len(problems) - maxProblems; more > 0 {
		last := &problems[maxProblems-1]
		last.What += fmt.Sprintf(" (and %d more problems with definitions, which the log has)", more)
		problems = problems[:maxProblems]
	}
	for _, d := range r.inForce.Load().sorted {
		if d.State == broker.ProviderGone {
			problems = append(problems, broker.Problem{
				What: "provider " + d.ID + ": " + d.Reason, Since: r.states[d.ID].since,
				Todo: "put the file back; or delete its credentials, or DELETE /credentials/oauth2/providers/" + d.ID,
			})
		}
	}
	return problems
}
