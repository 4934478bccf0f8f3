package client

import (
	"context"
	"net/url"

	"github.com/invectd/invectd/broker"
)

const (
	providersPath = "/credentials/oauth2/providers"
	appsPath      = "/credentials/oauth2/apps"
)

// Providers returns every definition in force, ordered by id.
func (c *Client) Providers(ctx context.Context) (out []Provider, err error) {
	_, err = c.Do(ctx, "GET", providersPath, nil, nil, &out)
	return out, err
}

// Provider returns one definition.
func (c *Client) Provider(ctx context.Context, id string) (out Provider, err error) {
	_, err = c.Do(ctx, "GET", below(providersPath, id), nil, nil, &out)
	return out, err
}

// CreateProvider adds a definition. With override it may replace one of another
// source.
func (c *Client) CreateProvider(ctx context.Context, d broker.Definition, override bool) (out Provider, err error) {
	_, err = c.Do(ctx, "POST", providersPath, overriding(override), d, &out)
	return out, err
}

// PutProvider adds or replaces a definition. With override it may replace one of
// another source.
func (c *Client) PutProvider(ctx context.Context, d broker.Definition, override bool) (out Provider, err error) {
	_, err = c.Do(ctx, "PUT", below(providersPath, d.ID), overriding(override), d, &out)
	return out, err
}

// DeleteProvider removes a definition that came over the API.
func (c *Client) DeleteProvider(ctx context.Context, id string) error {
	_, err := c.Do(ctx, "DELETE", below(providersPath, id), nil, nil, nil)
	return err
}

// AcceptProvider has the credentials of a provider, and its registered app, send
// their secrets to the origins that its definition names, which have to be these.
func (c *Client) AcceptProvider(ctx context.Context, id string, origins []string) (out Acceptance, err error) {
	_, err = c.Do(ctx, "POST", below(providersPath, id)+"/accept", nil, map[string]any{"origins": origins}, &out)
	return out, err
}

// Apps returns the registered apps, secrets masked, ordered by provider.
func (c *Client) Apps(ctx context.Context) (out []App, err error) {
	_, err = c.Do(ctx, "GET", appsPath, nil, nil, &out)
	return out, err
}

// App returns the app registered with a provider, secrets masked.
func (c *Client) App(ctx context.Context, providerID string) (out App, err error) {
	_, err = c.Do(ctx, "GET", below(appsPath, providerID), nil, nil, &out)
	return out, err
}

// PutApp registers the client of a provider, or replaces it.
func (c *Client) PutApp(ctx context.Context, in App) (out App, err error) {
	_, err = c.Do(ctx, "PUT", below(appsPath, in.ProviderID), nil, in, &out)
	return out, err
}

// DeleteApp removes the app of a provider.
func (c *Client) DeleteApp(ctx context.Context, providerID string) error {
	_, err := c.Do(ctx, "DELETE", below(appsPath, providerID), nil, nil, nil)
	return err
}

func below(path, id string) string { return path + "/" + url.PathEscape(id) }

func overriding(override bool) url.Values {
	if override {
		return url.Values{"override": {"true"}}
	}
	return nil
}
