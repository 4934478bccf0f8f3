package socket

import (
	"net/http"
	"net/url"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

func (s *Server) startFlow(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		client.StartRequest
		noFields
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	started, err := s.Broker.StartAuthorization(r.Context(), callerOf(r.Context()), broker.StartRequest{
		ProviderID:           body.ProviderID,
		ClientID:             body.ClientID,
		ClientSecret:         broker.NewSecret(body.ClientSecret),
		RedirectURI:          body.RedirectURI,
		Scopes:               body.Scopes,
		ReturnURL:            body.ReturnURL,
		CredentialName:       body.CredentialName,
		ExistingCredentialID: body.ExistingCredentialID,
		Inputs:               body.Inputs,
		Params:               body.Params,
	})
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, client.Started{AuthorizationURL: started.AuthorizationURL, State: started.State})
}

// callback takes what a front end hands on of the browser's redirect.
func (s *Server) callback(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		client.CallbackRequest
		noFields
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	done, err := s.Broker.CompleteAuthorization(r.Context(), callerOf(r.Context()), broker.Callback{
		State: body.State, Code: broker.NewSecret(body.Code), Issuer: body.Issuer, RedirectURI: body.RedirectURI,
		Params: body.Params,
	})
	return answerCredential(w, http.StatusOK, done.View, err)
}

// redirectCallback takes the browser's redirect itself (RFC 6749, section
// 4.1.2), and sends the browser on or shows it a page.
func (s *Server) redirectCallback(w http.ResponseWriter, r *http.Request) error {
	// The URL holds a code, which no later request may give away.
	w.Header().Set("Referrer-Policy", "no-referrer")
	if r.Host == "" { // no browser leaves it out
		return showPage(w, http.StatusForbidden, codeForbidden)
	}
	q := r.URL.Query()
	done, err := s.Broker.CompleteRedirect(r.Context(), broker.Callback{
		State: q.Get("state"), Code: broker.NewSecret(q.Get("code")), Issuer: q.Get("iss"),
		Error: q.Get("error"), Host: r.Host, Query: broker.NewSecret(r.URL.RawQuery), Params: client.RedirectParams(q),
	})
	if err == nil {
		return s.sendBack(w, done.ReturnURL, "credential_id", string(done.ID), http.StatusOK)
	}
	status, body := show(err)
	if body.Code != codeInvalidState && body.Code != codeForbidden { // those are nobody's flow
		s.Log.Warn("a flow failed", "code", body.Code, "error", err)
	}
	return s.sendBack(w, done.ReturnURL, "oauth_error", body.Code, status)
}

// sendBack sends the browser to where the flow's starter wants it, and tells how
// it went in a query parameter; without a place to go it shows a page.
func (s *Server) sendBack(w http.ResponseWriter, returnURL, name, value string, status int) error {
	if returnURL == "" {
		return showPage(w, status, value)
	}
	u, err := url.Parse(returnURL)
	if err != nil {
		return showPage(w, status, value)
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	w.Header().Set("Location", u.String())
	w.WriteHeader(http.StatusSeeOther)
	return nil
}
