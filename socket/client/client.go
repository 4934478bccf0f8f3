package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"

	"github.com/invectd/invectd/broker"
)

// maxAnswer bounds what is read of one answer, in bytes: a list of a hundred
// thousand credentials fits.
const maxAnswer = 128 << 20

// A Client speaks to one daemon. All methods may be called concurrently; all
// errors that the daemon answered are an [*Error].
type Client struct {
	socket string
	http   *http.Client
	grant  broker.Secret // that every request presents; empty for none
}

// New returns a client for the daemon that listens on a Unix socket. Nothing is
// opened before the first call.
func New(socketPath string) *Client {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dial(ctx, socketPath)
		},
		DisableCompression: true,
	}
	return &Client{socket: socketPath, http: &http.Client{Transport: transport}}
}

// dial connects. Where very many do so at once the kernel's queue before the
// socket is full for a moment, which is no reason to give up.
func dial(ctx context.Context, socketPath string) (net.Conn, error) {
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socketPath)
		if !errors.Is(err, syscall.EAGAIN) {
			return conn, err
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Close ends the connections that lie idle.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Do sends one request, with in as its JSON body unless it is nil, and reads
// the JSON answer into out unless that is nil. It returns the answer's header.
// The methods beside it cover the contract; Do is for what is newer than they.
func (c *Client) Do(ctx context.Context, method, path string, query url.Values, in, out any) (http.Header, error) {
	request, err := c.request(ctx, method, path, query, in)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("reading the answer from %s: %w", c.socket, err)
	}
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return response.Header, errorOf(response, body)
	}
	if raw, ok := out.(*[]byte); ok {
		*raw = body
		return response.Header, nil
	}
	if out != nil {
		if err := json.Unmarshal(body, out); err != nil {
			return response.Header, fmt.Errorf("what listens on %s does not answer as invectd does", c.socket)
		}
	}
	return response.Header, nil
}

func (c *Client) request(ctx context.Context, method, path string, query url.Values, in any) (*http.Request, error) {
	target := "http://localhost" + path // the host is not looked up
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("writing the request: %w", err)
		}
		body = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, fmt.Errorf("writing the request: %w", err)
	}
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if !c.grant.Empty() {
		request.Header.Set(GrantHeader, c.grant.Reveal())
	}
	return request, nil
}

// explain turns a failure to speak to the daemon into one that says what to do.
func (c *Client) explain(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("asking invectd on %s: %w", c.socket, cause)
	}
	// An url.Error repeats the request's URL, which says nothing here.
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("no invectd listens on %s: start it with `invectd serve`, or name its socket with --socket or INVECT_SOCKET: %w", c.socket, err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nobody listens on %s any more: start invectd again with `invectd serve`: %w", c.socket, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("you may not open %s: ask as the daemon's own user or as root, or have the operator widen --socket-mode: %w", c.socket, err)
	}
	return fmt.Errorf("asking invectd on %s: %w", c.socket, err)
}
