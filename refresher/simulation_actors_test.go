package refresher_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/invectd/invectd/broker"
)

// callerKey is where a caller's context holds itself, for the breakage that ties
// a refresh to it.
type callerKey struct{}

// connect makes a credential as a person's consent does.
func (s *simulation) connect(provider string) {
	s.made++
	id := broker.ID(fmt.Sprintf("%s-%d", provider, s.made))
	s.mu.Lock()
	answer := s.server.issue(id, &simFamily{number: s.server.issued[id]})
	family := s.server.grants[answer.RefreshToken.Reveal()].family.number
	s.mu.Unlock()
	c := broker.Credential{Summary: broker.Summary{
		ID: id, Name: string(id), AuthType: broker.AuthOAuth2, Provider: provider, IsActive: true, CreatedAt: time.Now().UTC(),
	}, Metadata: map[string]any{}}
	c.Apply(answer, time.Now().UTC())
	c, err := s.process.Create(context.Background(), c)
	if err != nil {
		return // the disk is full, or the process died
	}
	s.tokens.Add(c)
	s.broker.Refresher.Schedule(c.Summary)
	s.promise(id, func(p *promise) { p.family = family })
	s.live = append(s.live, id)
}

func (s *simulation) promise(id broker.ID, change func(*promise)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.promised[id]
	change(&p)
	s.promised[id] = p
}

// read asks as a runner does, and leaves when it has waited long enough.
func (s *simulation) read(id broker.ID) {
	request := broker.ReadRequest{
		MinValidity: time.Duration(s.random.IntN(300)) * time.Second, Wait: time.Duration(s.random.IntN(40_000)) * time.Millisecond,
	}
	b, p, tokens := s.broker, s.process, s.tokens
	s.running.Go(func() {
		before, had := tokens.Token(id)
		ctx, cancel := context.WithTimeout(context.Background(), request.Wait)
		defer cancel()
		reading, err := b.Token(context.WithValue(ctx, callerKey{}, ctx), root, string(id), request)
		if !p.alive() {
			return
		}
		if err == nil {
			s.checkServed(reading.Token)
			return
		}
		if _, still := tokens.Get(id); still && had && before.ValidFor(time.Now()) > 0 {
			s.report("a token of %s that lives %v was withheld: %v", id, before.ValidFor(time.Now()), err)
		}
	})
}

// reject is a runner whose token an API refused.
func (s *simulation) reject(id broker.ID) {
	b, p := s.broker, s.process
	summary, ok := s.tokens.Get(id)
	if !ok {
		return
	}
	s.running.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		reading, err := b.Rejected(context.WithValue(ctx, callerKey{}, ctx), root, string(id), summary.Generation, broker.ReadRequest{Wait: 20 * time.Second})
		if err == nil && p.alive() {
			s.checkServed(reading.Token)
		}
	})
}

// force is an operator who wants another token.
func (s *simulation) force(id broker.ID) {
	b := s.broker
	s.mu.Lock()
	s.forced[id]++
	s.mu.Unlock()
	wait := time.Duration(s.random.IntN(40_000)) * time.Millisecond
	s.running.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		_, _ = b.RefreshCredential(context.WithValue(ctx, callerKey{}, ctx), root, string(id)) // what it got is seen by readers
	})
}

// describe is an operator who writes something else.
func (s *simulation) describe(id broker.ID) {
	s.mu.Lock()
	next := s.promised[id].description + 1
	s.mu.Unlock()
	_, err := s.broker.UpdateCredential(context.Background(), root, string(id), broker.CredentialPatch{Description: new(fmt.Sprint(next))})
	if err == nil {
		s.promise(id, func(p *promise) { p.description = next })
	}
}

// reconnect is a person who consents again, and the front end that writes what
// came of it.
func (s *simulation) reconnect(id broker.ID) {
	s.mu.Lock()
	answer := s.server.issue(id, &simFamily{number: s.server.issued[id]})
	family := s.server.grants[answer.RefreshToken.Reveal()].family.number
	s.mu.Unlock()
	_, err := s.broker.UpdateCredential(context.Background(), root, string(id), broker.CredentialPatch{Config: map[string]any{
		broker.KeyAccessToken: answer.AccessToken.Reveal(), broker.KeyRefreshToken: answer.RefreshToken.Reveal(),
		broker.KeyExpiresAt: answer.ExpiresAt.Format(time.RFC3339),
	}})
	if err == nil {
		s.promise(id, func(p *promise) { p.family = family })
	}
}

func (s *simulation) remove(id broker.ID) {
	err := s.broker.DeleteCredential(context.Background(), root, string(id), false)
	if err != nil && !errors.Is(err, broker.ErrNotFound) && s.process.alive() {
		return
	}
	// Where the process died over it, it may be gone or not: nobody looks again.
	for i, other := range s.live {
		if other == id {
			s.live = append(s.live[:i], s.live[i+1:]...)
			break
		}
	}
	if err == nil {
		s.promise(id, func(p *promise) { p.deleted = true })
	}
}

// withdraw is a person who ends the consent at the provider.
func (s *simulation) withdraw(id broker.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.server.grants {
		if g.id == id {
			g.family.revoked, g.family.withdrawn = true, true
		}
	}
}

func (s *simulation) providerOf(id broker.ID) string {
	for provider := range simProviders {
		if len(id) > len(provider) && string(id[:len(provider)]) == provider {
			return provider
		}
	}
	return ""
}
