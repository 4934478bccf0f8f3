package oauth

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/invectd/invectd/broker"
)

// sendLimit is how many bytes of an API's answer are taken.
const sendLimit = 1 << 20

// Send implements [broker.AuthorizationServer].
func (c *Client) Send(ctx context.Context, a broker.APIRequest) (broker.APIResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, a.Method, a.URL, bytes.NewReader(a.Body))
	if err != nil {
		return broker.APIResponse{}, invalid("url", "makes no HTTP request")
	}
	for name, value := range a.Headers {
		switch {
		case name == "": // front ends send an unfilled row so
		case strings.EqualFold(name, "Host"):
			return broker.APIResponse{}, invalid("headers.Host", "is made from the URL")
		default:
			r.Header.Set(name, value)
		}
	}
	o := operation{opSend, &broker.Definition{ID: r.URL.Hostname()}, c.transport}
	got, err := c.send(o, r)
	if blocked, ok := errors.AsType[*BlockedError](err); ok {
		return broker.APIResponse{}, invalid("url", blocked.Error())
	}
	if err != nil {
		return broker.APIResponse{}, err
	}
	return broker.APIResponse{Status: got.status, Body: got.body}, nil
}
