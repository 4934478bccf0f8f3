package client

import "context"

// Keys are the ids of the encryption keys that open the daemon's store. They
// may be shown.
type Keys struct {
	Keys   []string `json:"keys"`
	Active string   `json:"active"` // of the key that the daemon was started with
}

const rotateKeyPath = "/admin/rotate-key"

// AddKey has a new encryption key, base64 of 32 bytes, open the store beside the
// present one.
func (c *Client) AddKey(ctx context.Context, key string) (out Keys, err error) {
	_, err = c.Do(ctx, "POST", rotateKeyPath, nil, map[string]string{"key": key}, &out)
	return out, err
}

// RetireKeys has no encryption key open the store any more but the one that the
// daemon was started with.
func (c *Client) RetireKeys(ctx context.Context) (out Keys, err error) {
	_, err = c.Do(ctx, "POST", rotateKeyPath, nil, map[string]bool{"retire": true}, &out)
	return out, err
}
