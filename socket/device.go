package socket

import (
	"net/http"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

func (s *Server) startDevice(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		client.DeviceRequest
		noFields
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	started, err := s.Broker.StartDevice(r.Context(), callerOf(r.Context()), broker.StartRequest{
		ProviderID:           body.ProviderID,
		ClientID:             body.ClientID,
		ClientSecret:         broker.NewSecret(body.ClientSecret),
		Scopes:               body.Scopes,
		CredentialName:       body.CredentialName,
		ExistingCredentialID: body.ExistingCredentialID,
		Inputs:               body.Inputs,
	})
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, client.StartedDevice{
		DeviceFlowID:            started.DeviceFlowID,
		CredentialID:            string(started.CredentialID),
		UserCode:                started.UserCode,
		VerificationURI:         started.VerificationURI,
		VerificationURIComplete: started.VerificationURIComplete,
		ExpiresAt:               wireTime(started.ExpiresAt),
	})
}

func (s *Server) deviceFlow(w http.ResponseWriter, r *http.Request) error {
	status, id, err := s.Broker.DeviceFlow(r.Context(), callerOf(r.Context()), r.PathValue("id"))
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, client.DeviceFlow{Status: string(status), CredentialID: string(id)})
}
