package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
)

// Connections finds out what it takes to speak to a provider.
type Connections struct {
	Definitions Definitions
	Apps        AppStore
}

// For returns the connection of a stored credential: its definition, its own
// client or else the registered app's, its inputs and what was captured.
func (k Connections) For(ctx context.Context, c *Credential) (Connection, error) {
	definition, err := k.Definitions.Definition(c.Provider)
	if err != nil {
		return Connection{}, fmt.Errorf("credential %q: %w", c.Name, err)
	}
	connection, err := k.with(ctx, definition.Definition, c)
	if err != nil {
		return Connection{}, err
	}
	return connection, connection.checkTokenHost(fmt.Sprintf("credential %q", c.Name))
}

// with is the connection of a credential by a definition.
func (k Connections) with(ctx context.Context, definition Definition, c *Credential) (Connection, error) {
	// What the definition no longer knows does not matter any more.
	inputs := c.Config.Texts(KeyCaptured)
	maps.DeleteFunc(inputs, func(name, _ string) bool {
		return !definition.Captures(name)
	})
	for name, value := range c.Config.Texts(KeyInputs) {
		if _, known := definition.Inputs[name]; known {
			inputs[name] = value
		}
	}
	client := clientOf(c.Config)
	if client.ID == "" && c.GrantType() == GrantJWTBearer {
		client.ID = c.Config.Text(KeyIssuer) // the assertion says who asks
	}
	return k.connectWithin(ctx, definition, client, inputs, c.Origins)
}

// connect is connectWithin for a new connection.
func (k Connections) connect(ctx context.Context, d Definition, client Client, inputs map[string]string) (Connection, error) {
	connection, err := k.connectWithin(ctx, d, client, inputs, "")
	if err != nil {
		return Connection{}, err
	}
	return connection, connection.checkTokenHost("its registered app")
}

// connectWithin completes a connection, which reaches no other origins than
// those given and those of the app: the app's client and inputs where none are
// given, and the defaults of inputs. It is the operator who says to which host
// the app's secret goes, so an input that chooses it freely has to be the app's.
func (k Connections) connectWithin(ctx context.Context, d Definition, client Client, inputs map[string]string, origins string) (Connection, error) {
	app, err := k.Apps.App(ctx, d.ID)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Connection{}, fmt.Errorf("reading the app of %s: %w", d.ID, err)
	}
	var lender *App // of the client
	if client.ID == "" {
		lender = &app
		for _, name := range d.freeHosts() {
			given := inputs[name]
			if _, isInput := d.Inputs[name]; isInput && given != "" && given != app.Inputs[name] && given != d.Inputs[name].Default {
				return Connection{}, invalid("inputs."+name, "chooses the host that the secret of the registered app is sent to, so it has to be registered with the app")
			}
		}
		client = app.Client
		all := maps.Clone(app.Inputs)
		if all == nil {
			all = map[string]string{}
		}
		maps.Copy(all, inputs)
		inputs = all
	}
	if client.ID == "" {
		return Connection{}, invalid("clientId", "%s has no registered app: give clientId and clientSecret, or register them: invectd apps set %s, PUT /credentials/oauth2/apps/%s", d.ID, d.ID, d.ID)
	}
	complete, err := d.completeInputs(inputs)
	if err != nil {
		return Connection{}, err
	}
	return Connection{Definition: d, Client: client, Inputs: complete}.within(origins, lender), nil
}

// clientOf returns the client that a credential carries itself.
func clientOf(c Config) Client {
	return Client{
		ID:           c.Text(KeyClientID),
		Secret:       c.Secret(KeyClientSecret),
		PrivateKey:   c.Secret(KeyPrivateKey),
		PrivateKeyID: c.Text(KeyPrivateKeyID),
		Certificate:  c.Text(KeyCertificate),
	}
}
