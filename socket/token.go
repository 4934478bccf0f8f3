package socket

import (
	"net/http"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

// maxWait bounds how long a caller may wait for a refresh: longer than any
// refresh takes.
const maxWait = 2 * time.Minute

// readRequest reads minValidity and wait.
func readRequest(r *http.Request) (out broker.ReadRequest, err error) {
	out.MinValidity, err = duration(r, "minValidity", broker.DefaultValidity)
	if err != nil {
		return out, err
	}
	out.Wait, err = duration(r, "wait", broker.DefaultWait)
	out.Wait = min(out.Wait, maxWait)
	return out, err
}

func (s *Server) token(w http.ResponseWriter, r *http.Request) error {
	need, err := readRequest(r)
	if err != nil {
		return err
	}
	reading, err := s.Broker.Token(r.Context(), callerOf(r.Context()), r.PathValue("ref"), need)
	return answerToken(w, reading, err)
}

func (s *Server) providerToken(w http.ResponseWriter, r *http.Request) error {
	need, err := readRequest(r)
	if err != nil {
		return err
	}
	provider := parameter(r, "provider")
	if provider == "" {
		return invalidRequest("provider", "say of which provider, as in /token?provider=google")
	}
	reading, err := s.Broker.ProviderToken(r.Context(), callerOf(r.Context()), provider, need)
	return answerToken(w, reading, err)
}

func (s *Server) rejected(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Generation *uint64 `json:"generation"`
		noFields
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	if body.Generation == nil {
		return invalidRequest("generation", "say which token was rejected: the generation that came with it")
	}
	need, err := readRequest(r)
	if err != nil {
		return err
	}
	reading, err := s.Broker.Rejected(r.Context(), callerOf(r.Context()), r.PathValue("ref"), *body.Generation, need)
	return answerToken(w, reading, err)
}

func (s *Server) resolve(w http.ResponseWriter, r *http.Request) error {
	need, err := readRequest(r)
	if err != nil {
		return err
	}
	c, err := s.Broker.Resolve(r.Context(), callerOf(r.Context()), r.PathValue("ref"), need)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, client.Resolved{
		ID: string(c.ID), Name: c.Name, Type: c.Type, AuthType: string(c.AuthType), Config: c.Config,
	})
}

func (s *Server) header(w http.ResponseWriter, r *http.Request) error {
	need, err := readRequest(r)
	if err != nil {
		return err
	}
	header, err := s.Broker.Header(r.Context(), callerOf(r.Context()), r.PathValue("ref"), need)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, header)
}
