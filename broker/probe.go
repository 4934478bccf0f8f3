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
	if err != nil || definition.Identity == nil && definition.IntrospectionURL == "" && definition.Issuer == "" {
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
	if err := b.probe(ctx, connection, reading.Access); err != nil {
		return Test{Error: err.Error()}, nil
	}
	return Test{Success: true}, nil
}

// probe returns why the provider does not take a token; nil if it does, or has
// no place where to ask. Its API says more than its introspection, which may
// know nothing of what an API wants.
func (b *Broker) probe(ctx context.Context, k Connection, accessToken Secret) error {
	if k.Definition.Identity != nil {
		_, err := b.Server.Identify(ctx, k, accessToken)
		return err
	}
	known, err := b.Server.Introspect(ctx, k, accessToken)
	if err == nil && known.Supported && !known.Active {
		err = fmt.Errorf("%s says that the token is not active: it was revoked, or is not one of its own", k.Definition.ID)
	}
	return err
}
