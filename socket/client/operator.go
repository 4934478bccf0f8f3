package client

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// A Filter chooses credentials; an empty field matches all.
type Filter struct {
	Type, AuthType, Provider, Status, WorkspaceID, Name string
	IsActive                                            *bool

	Limit  int    // at most so many; 0: all
	Cursor string // of the page before, "" for the first
}

func (f Filter) query() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{
		"type": f.Type, "authType": f.AuthType, "provider": f.Provider, "status": f.Status,
		"workspaceId": f.WorkspaceID, "name": f.Name, "cursor": f.Cursor,
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if f.IsActive != nil {
		q.Set("isActive", strconv.FormatBool(*f.IsActive))
	}
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	return q
}

// Credentials returns those that match, without their config, the newest first;
// next is the cursor of the next page, "" if this was the last.
func (c *Client) Credentials(ctx context.Context, f Filter) (list []Credential, next string, err error) {
	header, err := c.Do(ctx, "GET", "/credentials", f.query(), nil, &list)
	if err != nil {
		return nil, "", err
	}
	return list, nextCursor(header.Get("Link")), nil
}

// nextCursor reads the cursor out of a Link header (RFC 8288) with one link.
func nextCursor(link string) string {
	target, parameters, ok := strings.Cut(strings.TrimPrefix(link, "<"), ">")
	if !ok || !strings.Contains(parameters, `rel="next"`) {
		return ""
	}
	u, err := url.Parse(target)
	if err != nil {
		return ""
	}
	return u.Query().Get("cursor")
}

// Credential returns one credential, its secrets masked.
func (c *Client) Credential(ctx context.Context, ref string) (out Credential, err error) {
	_, err = c.Do(ctx, "GET", credentialPath(ref), nil, nil, &out)
	return out, err
}

// CreateCredential stores a new credential.
func (c *Client) CreateCredential(ctx context.Context, in CredentialInput) (out Credential, err error) {
	_, err = c.Do(ctx, "POST", "/credentials", nil, in, &out)
	return out, err
}

// UpdateCredential changes the fields that are given.
func (c *Client) UpdateCredential(ctx context.Context, ref string, in CredentialInput) (out Credential, err error) {
	_, err = c.Do(ctx, "PATCH", credentialPath(ref), nil, in, &out)
	return out, err
}

// DeleteCredential removes a credential; with revoke its tokens are revoked at the
// provider first, or as soon as that can be reached.
func (c *Client) DeleteCredential(ctx context.Context, ref string, revoke bool) error {
	q := url.Values{}
	if revoke {
		q.Set("revoke", "true")
	}
	_, err := c.Do(ctx, "DELETE", credentialPath(ref), q, nil, nil)
	return err
}

// RefreshCredential renews the token of a credential now.
func (c *Client) RefreshCredential(ctx context.Context, ref string) (out Credential, err error) {
	_, err = c.Do(ctx, "POST", credentialPath(ref, "refresh"), nil, nil, &out)
	return out, err
}

// TestCredential asks the provider whether the token works.
func (c *Client) TestCredential(ctx context.Context, ref string) (out Test, err error) {
	_, err = c.Do(ctx, "POST", credentialPath(ref, "test"), nil, nil, &out)
	return out, err
}

// Start begins an authorization-code flow.
func (c *Client) Start(ctx context.Context, in StartRequest) (out Started, err error) {
	_, err = c.Do(ctx, "POST", "/credentials/oauth2/start", nil, in, &out)
	return out, err
}

// StartDevice begins a device grant, which the daemon polls.
func (c *Client) StartDevice(ctx context.Context, in DeviceRequest) (out StartedDevice, err error) {
	_, err = c.Do(ctx, "POST", "/credentials/oauth2/device", nil, in, &out)
	return out, err
}

// DeviceFlow tells how a device grant stands.
func (c *Client) DeviceFlow(ctx context.Context, id string) (out DeviceFlow, err error) {
	_, err = c.Do(ctx, "GET", "/credentials/oauth2/device/"+url.PathEscape(id), nil, nil, &out)
	return out, err
}

// RedirectParams returns the parameters of a redirect besides those of the
// protocol: what a provider may say of whose account it is. They are what
// somebody put into a URL, so there is an end to their number and length.
func RedirectParams(query url.Values) map[string]string {
	const most, longest = 32, 1024
	var params map[string]string
	for _, name := range slices.Sorted(maps.Keys(query)) {
		value := query.Get(name)
		if slices.Contains([]string{"code", "state", "iss", "error"}, name) || len(name)+len(value) > longest || len(params) == most {
			continue
		}
		if params == nil {
			params = map[string]string{}
		}
		params[name] = value
	}
	return params
}

// Callback hands on what the browser brought back, and returns the credential.
func (c *Client) Callback(ctx context.Context, in CallbackRequest) (out Credential, err error) {
	_, err = c.Do(ctx, "POST", "/credentials/oauth2/callback", nil, in, &out)
	return out, err
}

// Status returns how the daemon is.
func (c *Client) Status(ctx context.Context) (out Status, err error) {
	_, err = c.Do(ctx, "GET", "/status", nil, nil, &out)
	return out, err
}

// Health tells whether the daemon is alive; an [*Error] of status 503 if not.
func (c *Client) Health(ctx context.Context) (out Health, err error) {
	_, err = c.Do(ctx, "GET", "/healthz", nil, nil, &out)
	return out, err
}

// Ready tells whether the daemon can do all of its work; an [*Error] of status
// 503 if not.
func (c *Client) Ready(ctx context.Context) (out Health, err error) {
	_, err = c.Do(ctx, "GET", "/readyz", nil, nil, &out)
	return out, err
}

// Version tells what is running.
func (c *Client) Version(ctx context.Context) (out Version, err error) {
	_, err = c.Do(ctx, "GET", "/version", nil, nil, &out)
	return out, err
}

// Metrics returns the metrics in Prometheus' text format.
func (c *Client) Metrics(ctx context.Context) (text []byte, err error) {
	_, err = c.Do(ctx, "GET", "/metrics", nil, nil, &text)
	return text, err
}
