package plugins

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/invectd/invectd/broker"
)

const (
	// rescanInterval is how often the folder is looked at though nothing hints at
	// a change.
	rescanInterval = time.Minute
	// hintDelay is how long a hint waits for more of them.
	hintDelay = 250 * time.Millisecond
	// folderInterval is how often it is asked whether the folder is another one:
	// it may be made, renamed, or a link to it be turned around.
	folderInterval = 2 * time.Second
)

// Watch calls [Registry.Rescan] whenever the folder may have changed, and tells
// what did, until ctx ends. What the system says of changes is a hint to look,
// and not needed: where it is missing or lost, the next look finds the same.
func (r *Registry) Watch(ctx context.Context, tell func(broker.ProviderChange)) error {
	w := r.newWatcher()
	defer w.close()
	folderTick := time.NewTicker(folderInterval)
	defer folderTick.Stop()
	timer := time.NewTimer(rescanInterval)
	defer timer.Stop()
	due := time.Now().Add(rescanInterval)
	soon := func(wait time.Duration) {
		if at := time.Now().Add(wait); at.Before(due) {
			due = at
			timer.Reset(wait)
		}
	}
	if w.follow(r.folder.dir) {
		soon(hintDelay) // something may have happened since the look at start
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.events:
			soon(hintDelay)
		case err := <-w.errors:
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				r.config.Log.Warn("watching the folder of provider definitions; it is looked at every minute anyway", "error", err)
			}
			soon(hintDelay)
		case <-folderTick.C:
			if w.follow(r.folder.dir) {
				soon(hintDelay)
			}
		case <-timer.C:
			changed, again := r.Rescan(ctx)
			for _, change := range changed {
				tell(change)
			}
			due = time.Now().Add(rescanInterval)
			timer.Reset(rescanInterval)
			if again {
				soon(settleTime)
			}
		}
	}
}

// A watcher follows one folder, whichever lies at its path.
type watcher struct {
	system *fsnotify.Watcher // nil where the system has none to give
	events <-chan fsnotify.Event
	errors <-chan error
	folder stamp
}

func (r *Registry) newWatcher() *watcher {
	system, err := fsnotify.NewWatcher()
	if err != nil {
		r.config.Log.Warn("changes of provider definitions are noticed within a minute only, since the system does not tell of them", "error", err)
		return &watcher{}
	}
	return &watcher{system: system, events: system.Events, errors: system.Errors}
}

func (w *watcher) close() {
	if w.system != nil {
		w.system.Close()
	}
}

// follow watches the folder at a path, and reports whether that is another than
// before or has other files.
func (w *watcher) follow(dir string) (changed bool) {
	var now stamp
	if info, err := os.Stat(dir); err == nil {
		now = stampOf(info)
	}
	if now == w.folder {
		return false
	}
	if w.system != nil && (now.device != w.folder.device || now.inode != w.folder.inode) {
		_ = w.system.Remove(dir) // of the old one, which may be gone already
		if now != (stamp{}) {
			_ = w.system.Add(dir) // else the minute's look has to do
		}
	}
	w.folder = now
	return true
}
