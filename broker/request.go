package broker

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// SendRequest makes one request on behalf of somebody who sets a credential up
// and wants to see whether an API takes it. With ref, the header of that
// credential is added, which goes only to the apiHosts of its provider.
func (b *Broker) SendRequest(ctx context.Context, caller Caller, ref string, r APIRequest) (APIResponse, error) {
	u, err := url.Parse(r.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return APIResponse{}, invalid("url", "give an absolute http: or https: URL")
	case u.User != nil:
		return APIResponse{}, invalid("url", "must not hold a user or a password")
	}
	if ref == "" {
		entry, err := b.authorize(caller, VerbWrite, u.Hostname())
		if err != nil {
			return APIResponse{}, err
		}
		return b.send(ctx, entry, r)
	}
	s, err := b.find(ctx, caller, VerbWrite, ref)
	if err != nil {
		return APIResponse{}, err
	}
	if err := b.mayReceive(s.Summary, u); err != nil {
		return APIResponse{}, err
	}
	header, _, err := b.headerOf(ctx, s.Summary, ReadRequest{MinValidity: DefaultValidity, Wait: DefaultWait})
	if err != nil {
		return APIResponse{}, err
	}
	for name := range r.Headers {
		for own := range header {
			if strings.EqualFold(name, own) {
				return APIResponse{}, invalid("headers."+name, "is the one that the credential fills in")
			}
		}
	}
	all := header
	for name, value := range r.Headers {
		all[name] = value
	}
	r.Headers = all
	return b.send(ctx, s.entry, r)
}

// send makes a request that was decided on.
func (b *Broker) send(ctx context.Context, e AuditEntry, r APIRequest) (_ APIResponse, err error) {
	change, err := b.begin(e)
	if err != nil {
		return APIResponse{}, err
	}
	defer change.end(&err)
	return b.Server.Send(ctx, r)
}

// mayReceive returns nil if the secret of a credential may be sent to u.
func (b *Broker) mayReceive(s Summary, u *url.URL) error {
	if s.Provider == "" {
		return invalid("credentialId", "credential %q has no provider that would say where its secret may be sent", s.Name)
	}
	d, err := b.Definitions.Definition(s.Provider)
	if err != nil {
		return fmt.Errorf("credential %q: %w", s.Name, err)
	}
	if u.Scheme != "https" && !b.Addresses.allowHost(u.Hostname()) {
		return invalid("url", "must be https:, since the secret of a credential goes there")
	}
	if !slices.ContainsFunc(d.APIHosts, func(host string) bool { return strings.EqualFold(host, u.Hostname()) }) {
		return invalid("url", "%s is not among the apiHosts of %s: %s", u.Hostname(), s.Provider, listOf(d.APIHosts))
	}
	if !among(s.Origins, "https://"+strings.ToLower(u.Hostname())) {
		return invalid("url", "%s is an API host that credential %q was not authorised with; if that is right: invectd providers accept %s", u.Hostname(), s.Name, s.Provider)
	}
	return nil
}
