package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/invectd/invectd/socket/client"
)

// lookInterval is how often a walk looks whether something has happened.
const lookInterval = 10 * time.Millisecond

// tokenPath is where a runner reads the token.
func (w *walk) tokenPath() string { return "/credentials/" + w.id + "/token" }

// readToken reads the token as a runner does, and takes any that lives.
func (w *walk) readToken(ctx context.Context) (t client.Token, err error) {
	status, body, err := fetch(ctx, w.runner, "http://localhost"+w.tokenPath()+"?minValidity=0s", "")
	if err != nil {
		return t, err
	}
	if status != http.StatusOK {
		var wire client.ErrorBody
		if err := json.Unmarshal(body, &wire); err != nil {
			return t, fmt.Errorf("the daemon answered %d, and not in JSON", status)
		}
		return t, &client.Error{Status: status, Code: wire.Code, Message: wire.Error, Connect: wire.Connect}
	}
	return t, json.Unmarshal(body, &t)
}

// fetch makes a request, with a bearer token unless it is empty.
func fetch(ctx context.Context, c *http.Client, address, token string) (status int, body []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, nil, err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := c.Do(request)
	if err != nil {
		// What an url.Error adds is the address, which may hold a code.
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err
		}
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(io.LimitReader(response.Body, maxInput))
	return response.StatusCode, body, err
}

// look asks again and again until it is done, fails or ctx ends.
func look(ctx context.Context, ask func() (done bool, err error)) error {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		if done, err := ask(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}
