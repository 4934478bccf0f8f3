package client

import (
	"context"
	"net/url"
)

// Plugins returns what is in the plugins folder, ordered by name.
func (c *Client) Plugins(ctx context.Context) (list []Plugin, err error) {
	_, err = c.Do(ctx, "GET", "/plugins", nil, nil, &list)
	return list, err
}

// TrustPlugin lets a plugin run, and grants it hooks.
func (c *Client) TrustPlugin(ctx context.Context, name string, in PluginTrust) (out Plugin, err error) {
	_, err = c.Do(ctx, "POST", "/plugins/"+url.PathEscape(name)+"/trust", nil, in, &out)
	return out, err
}

// DistrustPlugin ends a plugin and does not run it any more.
func (c *Client) DistrustPlugin(ctx context.Context, name string) error {
	_, err := c.Do(ctx, "DELETE", "/plugins/"+url.PathEscape(name)+"/trust", nil, nil, nil)
	return err
}
