package broker

import (
	"context"
	"fmt"
)

// A Test tells whether the provider accepts the token of a credential.
type Test struct {
	Success bool
	Error   string // for a person; "" on success
}

// TestCredential asks the provider whether the token works. An error of its own
// means that it could not be asked.
func (b *Broker) TestCredential(ctx context.Context, caller Caller, ref string) (Test, error) {
	s, err := b.find(ctx, caller, VerbRead, ref)
	if err != nil {
		return Test{}, err
	}
	if !s.IsActive {
		return Test{Error: disabled(s.Summary).Error()}, nil
	}
	switch s.AuthType {
	case AuthOAuth2:
	case AuthAPIKey, AuthBearer, AuthBasic, AuthConnectionString:
		return Test{Success: true}, nil // it is there; no definition says whom to ask
	default:
		return Test{Error: fmt.Sprintf("there is no test for credentials of type %s", s.AuthType)}, nil
	}
	reading, err := b.read(ctx, s.Summary, ReadRequest{MinValidity: DefaultValidity, Wait: DefaultWait})
	if err != nil {
		return Test{Error: err.Error()}, nil
	}
	definition, err := b.Definitions.Definition(s.Provider)
	if err != nil || definition.Identity == nil {
		return Test{Success: true}, nil // it lives, and no definition says whom to ask
	}
	c, err := b.Store.Get(ctx, s.ID)
	if err != nil {
		return Test{}, fmt.Errorf("reading credential %q: %w", s.Name, err)
	}
	connection, err := b.connections.For(ctx, &c)
	if err != nil {
		return Test{Error: err.Error()}, nil
	}
	if _, err := b.Server.Identify(ctx, connection, reading.Access); err != nil {
		return Test{Error: err.Error()}, nil
	}
	return Test{Success: true}, nil
}
