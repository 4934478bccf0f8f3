package broker

import "context"

// Keys are the operator's keys that open a store.
type Keys interface {
	// AddKey has a new key, as operators write it, open the store beside the
	// present one, and seals what is written from now on under a new data key. The
	// error is an [*InvalidError] about the field "key" if it is no key, and wraps
	// [ErrConflict] if two keys open the store already.
	AddKey(ctx context.Context, key Secret) (KeyIDs, error)
	// RetireKeys has no key open the store but the one that it was opened with.
	RetireKeys(ctx context.Context) (KeyIDs, error)
}

// KeyIDs name the keys that open a store. They may be shown.
type KeyIDs struct {
	All    []string // sorted
	Active string   // of the key that the store was opened with
}

// AddKey has a second key open the store.
func (b *Broker) AddKey(ctx context.Context, caller Caller, key Secret) (_ KeyIDs, err error) {
	entry, err := b.authorize(caller, VerbAdmin, "rotate-key")
	if err != nil {
		return KeyIDs{}, err
	}
	change, err := b.begin(entry)
	if err != nil {
		return KeyIDs{}, err
	}
	defer change.end(&err)
	return b.Keys.AddKey(ctx, key)
}

// RetireKeys has no key open the store but that of this daemon.
func (b *Broker) RetireKeys(ctx context.Context, caller Caller) (_ KeyIDs, err error) {
	entry, err := b.authorize(caller, VerbAdmin, "rotate-key --retire")
	if err != nil {
		return KeyIDs{}, err
	}
	change, err := b.begin(entry)
	if err != nil {
		return KeyIDs{}, err
	}
	defer change.end(&err)
	return b.Keys.RetireKeys(ctx)
}
