package socket

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

// withGrant has a request be that of a caller with the grant that it presents, if
// any. The secret goes no further than this.
func (s *Server) withGrant(r *http.Request) (*http.Request, error) {
	secrets := r.Header.Values(client.GrantHeader)
	if len(secrets) == 0 {
		return r, nil
	}
	r.Header.Del(client.GrantHeader)
	// More than one are none that was minted.
	secret := broker.NewSecret(strings.Join(secrets, ","))
	if _, err := s.Broker.WithGrant(callerOf(r.Context()), secret); err != nil {
		return nil, err
	}
	current := func() broker.Caller { // a long request is of no use once the grant is revoked
		caller, _ := s.Broker.WithGrant(callerOf(r.Context()), secret)
		return caller
	}
	return r.WithContext(context.WithValue(r.Context(), callerKey{}, current)), nil
}

func (s *Server) listGrants(w http.ResponseWriter, r *http.Request) error {
	grants, err := s.Broker.ListGrants(callerOf(r.Context()))
	if err != nil {
		return err
	}
	out := make([]client.Grant, len(grants))
	for i, g := range grants {
		out[i] = grantOf(g)
	}
	return answer(w, http.StatusOK, out)
}

func (s *Server) showGrant(w http.ResponseWriter, r *http.Request) error {
	g, err := s.Broker.ShowGrant(callerOf(r.Context()), broker.ID(r.PathValue("id")))
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, grantOf(g))
}

func (s *Server) createGrant(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		client.GrantInput
		UserID ignored `json:"userId"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	lifetime, err := time.ParseDuration(body.TTL)
	if err != nil {
		return invalidRequest("ttl", "give a duration, such as 90m or 24h")
	}
	g, secret, err := s.Broker.CreateGrant(r.Context(), callerOf(r.Context()), broker.GrantRequest{
		Name: body.Name, Credentials: body.Credentials, Providers: body.Providers, May: body.May,
		UIDs: body.UIDs, Units: body.Units, Cgroups: body.Cgroups, Lifetime: lifetime,
	})
	if err != nil {
		return err
	}
	return answer(w, http.StatusCreated, client.MintedGrant{Grant: grantOf(g), Secret: secret.Reveal()})
}

func (s *Server) deleteGrant(w http.ResponseWriter, r *http.Request) error {
	return answerNothing(w, s.Broker.DeleteGrant(r.Context(), callerOf(r.Context()), broker.ID(r.PathValue("id"))))
}

func grantOf(g broker.Grant) client.Grant {
	rule := policyRule(g.Rule)
	return client.Grant{
		ID: string(g.ID), Name: g.Name, Who: rule.Who, May: rule.May, On: rule.On,
		CreatedAt: wireTime(g.CreatedAt), ExpiresAt: wireTime(g.ExpiresAt), LastUsedAt: timeOrNull(g.LastUsedAt),
	}
}
