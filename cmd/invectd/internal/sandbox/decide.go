package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Decide does over HTTP what a person does in a browser: it opens
// authorizationURL, presses Allow or Deny, and returns where the server sends
// the browser then, without going there. A request that the server refuses
// outright leads there too, with an error for the client.
func Decide(ctx context.Context, authorizationURL string, allow bool) (*url.URL, error) {
	consent, err := redirect(ctx, http.MethodGet, authorizationURL, nil)
	if err != nil {
		return nil, fmt.Errorf("opening the consent page: %w", err)
	}
	if !strings.HasPrefix(authorizationURL, consent.Scheme+"://"+consent.Host+"/") || consent.Path != consentPath {
		return consent, nil
	}
	form := url.Values{"id": {consent.Query().Get("id")}, "decision": {"deny"}}
	if allow {
		form.Set("decision", "allow")
	}
	target, err := redirect(ctx, http.MethodPost, consent.String(), form)
	if err != nil {
		return nil, fmt.Errorf("answering the consent page: %w", err)
	}
	return target, nil
}

// redirect makes a request and returns where the answer leads.
func redirect(ctx context.Context, method, address string, form url.Values) (*url.URL, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	// One request for each transport: nothing is kept that would have to be closed.
	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	target, err := answer.Location()
	if errors.Is(err, http.ErrNoLocation) {
		return nil, fmt.Errorf("the server answered %s", answer.Status)
	}
	return target, err
}
