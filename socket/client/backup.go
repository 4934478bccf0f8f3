package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
)

// Backup writes a backup of the daemon's store. Where it returns an error, what
// was written is no backup.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	request, err := c.request(ctx, http.MethodPost, "/admin/backup", nil, nil)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return c.explain(ctx, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
		if err != nil {
			return fmt.Errorf("reading the answer from %s: %w", c.socket, err)
		}
		return errorOf(response, body)
	}
	if _, err := io.Copy(w, response.Body); err != nil {
		return fmt.Errorf("the backup broke off: %w", err)
	}
	return nil
}
