package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// An Acceptance is what an operator accepted.
type Acceptance struct {
	ProviderID  string
	Origins     []string // that secrets may be sent to from now on
	Credentials int      // that follow the definition again
	App         bool     // whether the registered app does
}

// AcceptProvider is the operator's word that the definition in force is right:
// the provider's credentials and its registered app follow it to the hosts that
// it names. Where origins are given they have to be those of the definition, else
// the error wraps [ErrConflict]: what was looked at may have changed since.
func (b *Broker) AcceptProvider(ctx context.Context, caller Caller, id string, origins []string) (_ Acceptance, err error) {
	entry, err := b.authorize(caller, VerbAdmin, id)
	if err != nil {
		return Acceptance{}, err
	}
	d, err := b.Definitions.Definition(id)
	if err != nil {
		return Acceptance{}, err
	}
	out := Acceptance{ProviderID: id, Origins: strings.Fields(d.origins(nil))}
	if slices.Sort(origins); origins != nil && !slices.Equal(slices.Compact(origins), out.Origins) {
		return Acceptance{}, fmt.Errorf("the definition of %s names %s by now: look again: %w", id, listOf(out.Origins), ErrConflict)
	}
	change, err := b.begin(entry)
	if err != nil {
		return Acceptance{}, err
	}
	defer change.end(&err)
	if out.App, err = b.acceptApp(ctx, d.Definition); err != nil {
		return Acceptance{}, err
	}
	var mu sync.Mutex
	err = each(b.Tokens.Provider(id), func(s Summary) error {
		accepted, err := b.acceptFor(ctx, d.Definition, s)
		if accepted {
			mu.Lock()
			defer mu.Unlock()
			out.Credentials++
		}
		return err
	})
	if err != nil {
		return Acceptance{}, fmt.Errorf("accepting the hosts of %s: %w", id, err)
	}
	b.Log.Info("the hosts of a provider were accepted", "provider", id, "origins", out.Origins, "credentials", out.Credentials)
	b.Events.Publish(Event{Type: EventProviderChanged, ProviderID: id, Status: ProviderAccepted})
	b.wakeRevocations()
	return out, nil
}

// acceptApp has the registered app follow a definition, and reports whether there
// is one.
func (b *Broker) acceptApp(ctx context.Context, d Definition) (bool, error) {
	app, err := b.Store.App(ctx, d.ID)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the app of %s: %w", d.ID, err)
	}
	app.Origins = d.origins(d.appInputs(&app))
	if err := b.Store.PutApp(ctx, app); err != nil {
		return false, fmt.Errorf("storing the app of %s: %w", d.ID, err)
	}
	return true, nil
}

// acceptFor has one credential follow a definition, and try again at once where
// it waited for that. It reports whether it had not before.
func (b *Broker) acceptFor(ctx context.Context, d Definition, s Summary) (accepted bool, err error) {
	c, err := b.Store.Get(ctx, s.ID)
	if errors.Is(err, ErrNotFound) {
		return false, nil // deleted since
	}
	if err != nil {
		return false, err
	}
	origins := b.connections.originsFor(ctx, d, &c)
	if origins == "" || origins == c.Origins {
		return false, nil
	}
	c, err = b.Store.Update(ctx, s.ID, func(c *Credential) error {
		c.Origins, c.RetryAt = origins, time.Time{}
		return nil
	})
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	b.Tokens.Put(c)
	b.Refresher.Schedule(c.Summary)
	return true, nil
}

// originsFor are the origins of a definition for a credential; "" where it lacks
// what it takes to know them.
func (k Connections) originsFor(ctx context.Context, d Definition, c *Credential) string {
	if fixed := d.origins(nil); !placeholder.MatchString(fixed) {
		return fixed
	}
	free := *c
	free.Origins = ""
	connection, err := k.with(ctx, d, &free)
	if err != nil {
		return ""
	}
	return connection.Origins()
}

// originsNow are the origins of the definition in force for a new credential.
func (b *Broker) originsNow(ctx context.Context, c *Credential) string {
	d, err := b.Definitions.Definition(c.Provider)
	if err != nil {
		return ""
	}
	return b.connections.originsFor(ctx, d.Definition, c)
}

// Adopt has credentials and apps from before origins were remembered take those
// of the definitions in force, at start. What cannot be written is tried again
// at the next start.
func (b *Broker) Adopt(ctx context.Context) error {
	apps, err := b.Store.Apps(ctx)
	if err != nil {
		return fmt.Errorf("reading the apps: %w", err)
	}
	for _, app := range apps {
		d, err := b.Definitions.Definition(app.ProviderID)
		if err != nil || app.Origins != "" {
			continue
		}
		if _, err := b.acceptApp(ctx, d.Definition); err != nil {
			return err
		}
	}
	old := slices.DeleteFunc(b.Tokens.All(), func(s Summary) bool { return s.Provider == "" || s.Origins != "" })
	return each(old, func(s Summary) error {
		d, err := b.Definitions.Definition(s.Provider)
		if err != nil {
			return nil
		}
		_, err = b.acceptFor(ctx, d.Definition, s)
		return err
	})
}

// atOnce is how many credentials are changed side by side: the store folds their
// writes into one.
const atOnce = 64

// each calls do for all summaries, several at a time, and returns the first error.
func each(all []Summary, do func(Summary) error) error {
	var wg sync.WaitGroup
	errs := make(chan error, len(all))
	slots := make(chan struct{}, atOnce)
	for _, s := range all {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs <- do(s)
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
