package socket

import (
	"encoding/json"
	"net/http"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

// A credentialBody creates or changes a credential. Fields that only the daemon
// writes are ignored, since front ends send back what they were given.
type credentialBody struct {
	Name        *string          `json:"name"`
	Type        *string          `json:"type"`
	AuthType    *broker.AuthType `json:"authType"`
	Provider    *string          `json:"provider"` // only the daemon's, once it is created
	Description json.RawMessage  `json:"description"`
	Config      map[string]any   `json:"config"`
	Metadata    map[string]any   `json:"metadata"`
	IsActive    *bool            `json:"isActive"`
	IsShared    *bool            `json:"isShared"`
	WorkspaceID json.RawMessage  `json:"workspaceId"`

	UserID        ignored `json:"userId"`
	ID            ignored `json:"id"`
	Status        ignored `json:"status"`
	StatusReason  ignored `json:"statusReason"`
	Generation    ignored `json:"generation"`
	ExpiresAt     ignored `json:"expiresAt"`
	NextRefreshAt ignored `json:"nextRefreshAt"`
	LastRefreshAt ignored `json:"lastRefreshAt"`
	LastUsedAt    ignored `json:"lastUsedAt"`
	CreatedAt     ignored `json:"createdAt"`
	UpdatedAt     ignored `json:"updatedAt"`
}

// decodePatch reads which fields a request gives.
func decodePatch(r *http.Request) (p broker.CredentialPatch, provider *string, err error) {
	var body credentialBody
	if err := decode(r, &body); err != nil {
		return p, nil, err
	}
	p = broker.CredentialPatch{
		Name: body.Name, Type: body.Type, AuthType: body.AuthType, Config: body.Config,
		Metadata: body.Metadata, IsActive: body.IsActive, IsShared: body.IsShared,
	}
	if p.Description, err = nullable("description", body.Description); err != nil {
		return p, nil, err
	}
	p.WorkspaceID, err = nullable("workspaceId", body.WorkspaceID)
	return p, body.Provider, err
}

func (s *Server) createCredential(w http.ResponseWriter, r *http.Request) error {
	given, provider, err := decodePatch(r)
	if err != nil {
		return err
	}
	view, err := s.Broker.CreateCredential(r.Context(), callerOf(r.Context()), broker.NewCredential{
		Name: orZero(given.Name), Type: orZero(given.Type), AuthType: orZero(given.AuthType),
		Provider: orZero(provider), Description: orZero(given.Description), Config: given.Config,
		Metadata: given.Metadata, IsActive: given.IsActive, IsShared: orZero(given.IsShared),
		WorkspaceID: orZero(given.WorkspaceID),
	})
	return answerCredential(w, http.StatusCreated, view, err)
}

func orZero[T any](value *T) T {
	if value == nil {
		return *new(T)
	}
	return *value
}

func (s *Server) updateCredential(w http.ResponseWriter, r *http.Request) error {
	patch, _, err := decodePatch(r)
	if err != nil {
		return err
	}
	view, err := s.Broker.UpdateCredential(r.Context(), callerOf(r.Context()), r.PathValue("ref"), patch)
	return answerCredential(w, http.StatusOK, view, err)
}

func (s *Server) showCredential(w http.ResponseWriter, r *http.Request) error {
	view, err := s.Broker.Credential(r.Context(), callerOf(r.Context()), r.PathValue("ref"))
	return answerCredential(w, http.StatusOK, view, err)
}

func (s *Server) deleteCredential(w http.ResponseWriter, r *http.Request) error {
	revoke, err := flag(r, "revoke")
	if err != nil {
		return err
	}
	err = s.Broker.DeleteCredential(r.Context(), callerOf(r.Context()), r.PathValue("ref"), orZero(revoke))
	return answerNothing(w, err)
}

func (s *Server) refreshCredential(w http.ResponseWriter, r *http.Request) error {
	if err := decodeNothing(r); err != nil {
		return err
	}
	view, err := s.Broker.RefreshCredential(r.Context(), callerOf(r.Context()), r.PathValue("ref"))
	return answerCredential(w, http.StatusOK, view, err)
}

func (s *Server) testCredential(w http.ResponseWriter, r *http.Request) error {
	if err := decodeNothing(r); err != nil {
		return err
	}
	test, err := s.Broker.TestCredential(r.Context(), callerOf(r.Context()), r.PathValue("ref"))
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, client.Test{Success: test.Success, Error: test.Error})
}
