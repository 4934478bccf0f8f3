package policyfile

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/invectd/invectd/broker"
)

const (
	// rescanInterval is how often the file is looked at though nobody says that
	// it changed: notices can be lost, and some file systems send none.
	rescanInterval = 30 * time.Second
	// settleTime is how long after a notice the file is looked at: whoever writes
	// one does so in several steps.
	settleTime = 100 * time.Millisecond
)

// A Watcher keeps a policy the same as its file says.
type Watcher struct {
	file   string
	policy *broker.Policy
	log    *slog.Logger
}

// Start puts the policy of a file in force, or returns why it cannot be.
func Start(file string, policy *broker.Policy, log *slog.Logger) (*Watcher, error) {
	w := &Watcher{file, policy, log}
	rules, err := Load(file)
	if err != nil {
		return nil, err
	}
	w.use(rules)
	return w, nil
}

func (w *Watcher) use(rules []broker.Rule) {
	w.policy.Use(w.file, rules, time.Now().UTC())
	w.log.Info("the policy is in force", "file", w.file, "rules", len(rules))
}

// Run follows the file until ctx ends, and looks at it at once whenever
// something comes from reload. What is broken leaves the rules in force as they
// are.
func (w *Watcher) Run(ctx context.Context, reload <-chan os.Signal) error {
	notices, err := fsnotify.NewWatcher()
	if err != nil {
		w.log.Warn("the policy file is looked at every half minute only", "error", err)
		notices = &fsnotify.Watcher{} // without channels, on which nothing comes
	} else {
		defer notices.Close()
	}
	rescan := time.NewTicker(rescanInterval)
	defer rescan.Stop()
	var settled <-chan time.Time // nil while there is nothing to look at
	asked := false
	for {
		if settled == nil {
			w.follow(notices)
			w.look(asked) // after that, so that no change falls between
		}
		select {
		case <-ctx.Done():
			return nil
		case <-notices.Events:
			if settled == nil {
				settled = time.After(settleTime)
			}
			continue
		case <-notices.Errors: // some may be lost
		case <-settled:
		case <-rescan.C:
		case <-reload:
			settled, asked = nil, true
			continue
		}
		settled, asked = nil, false
	}
}

// follow watches the folders of the file, and of what it is a link to: an editor
// and a ConfigMap put another file in its place, of which the file itself would
// say nothing. Watching one twice changes nothing.
func (w *Watcher) follow(notices *fsnotify.Watcher) {
	if notices.Events == nil {
		return
	}
	_ = notices.Add(filepath.Dir(w.file)) // the rescan finds what this misses
	if target, err := filepath.EvalSymlinks(w.file); err == nil {
		_ = notices.Add(filepath.Dir(target))
	}
}

// look compares what the file says with what is in force. Whoever asked for it
// is told what came of it even if that is nothing new.
func (w *Watcher) look(asked bool) {
	now := w.policy.State()
	rules, err := Load(w.file)
	switch {
	case err != nil && (asked || err.Error() != now.Fault):
		w.policy.Fail(err)
		w.log.Error("the policy file cannot be used, so the rules before it stay in force", "error", err)
	case err != nil:
	case asked || now.Fault != "" || !reflect.DeepEqual(rules, now.Rules):
		w.use(rules)
	}
}
