package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/invectd/invectd/broker"
)

type revocationFields struct {
	CredentialID broker.ID        `json:"credentialId"`
	Name         string           `json:"name,omitempty"`
	Provider     string           `json:"provider"`
	Origins      string           `json:"origins,omitempty"`
	Config       configFields     `json:"config,omitempty"`
	Tokens       []revocableToken `json:"tokens,omitempty"`
	EndsAt       time.Time        `json:"endsAt,omitzero"`
	Since        time.Time        `json:"since,omitzero"`
	RetryAt      time.Time        `json:"retryAt,omitzero"`
	Attempts     int              `json:"attempts,omitempty"`
	Reason       string           `json:"reason,omitempty"`
	GivenUpAt    time.Time        `json:"givenUpAt,omitzero"`
}

// configFields keep numbers as they were written.
type configFields map[string]any

// UnmarshalJSON implements [json.Unmarshaler].
func (c *configFields) UnmarshalJSON(data []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	return decoder.Decode((*map[string]any)(c))
}

type revocableToken struct {
	Token string `json:"token"`
	Hint  string `json:"hint"`
}

func revocationToFields(r broker.Revocation) revocationFields {
	fields := revocationFields{
		CredentialID: r.CredentialID, Name: r.Name, Provider: r.Provider, Origins: r.Origins, Config: r.Config.Reveal(),
		EndsAt: r.EndsAt.Round(0).UTC(), Since: r.Since.Round(0).UTC(), RetryAt: r.RetryAt.Round(0).UTC(),
		Attempts: r.Attempts, Reason: r.Reason, GivenUpAt: r.GivenUpAt.Round(0).UTC(),
	}
	for _, t := range r.Tokens {
		fields.Tokens = append(fields.Tokens, revocableToken{t.Token.Reveal(), t.Hint})
	}
	return fields
}

func (f revocationFields) revocation(id string) broker.Revocation {
	r := broker.Revocation{
		ID: id, CredentialID: f.CredentialID, Name: f.Name, Provider: f.Provider, Origins: f.Origins, Config: broker.NewConfig(f.Config),
		EndsAt: f.EndsAt, Since: f.Since, RetryAt: f.RetryAt, Attempts: f.Attempts, Reason: f.Reason, GivenUpAt: f.GivenUpAt,
	}
	for _, t := range f.Tokens {
		r.Tokens = append(r.Tokens, broker.RevocableToken{Token: broker.NewSecret(t.Token), Hint: t.Hint})
	}
	return r
}

// DeleteRevoking implements [broker.RevocationStore].
func (db *DB) DeleteRevoking(ctx context.Context, id broker.ID, revoke func(*broker.Credential) (*broker.Revocation, error)) error {
	return db.commit(ctx, func(b *batch) error {
		old, err := b.credential(id)
		if err != nil {
			return err
		}
		r, err := revoke(&old.credential)
		if err != nil {
			return err
		}
		if r != nil {
			if err := b.replace(place{kindRevocation, r.ID}, revocationToFields(*r)); err != nil {
				return err
			}
		}
		b.removeCredential(old.summary)
		return nil
	})
}

// Revocations implements [broker.RevocationStore].
func (db *DB) Revocations(ctx context.Context) ([]broker.Revocation, error) {
	all, err := contents[revocationFields](ctx, db, kindRevocation)
	if err != nil {
		return nil, fmt.Errorf("reading the revocations: %w", err)
	}
	revocations := make([]broker.Revocation, 0, len(all))
	for _, id := range slices.Sorted(maps.Keys(all)) {
		revocations = append(revocations, all[id].revocation(id))
	}
	return revocations, nil
}

// PutRevocation implements [broker.RevocationStore].
func (db *DB) PutRevocation(ctx context.Context, r broker.Revocation) error {
	return db.replace(ctx, place{kindRevocation, r.ID}, revocationToFields(r))
}

// DeleteRevocation implements [broker.RevocationStore].
func (db *DB) DeleteRevocation(ctx context.Context, id string) error {
	return db.drop(ctx, place{kindRevocation, id})
}
