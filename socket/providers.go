package socket

import (
	"net/http"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

// A providerBody is a definition, maybe as it was answered before.
type providerBody struct {
	broker.Definition
	Source ignored `json:"source"`
	State  ignored `json:"state"`
	Reason ignored `json:"reason"`
	Held   ignored `json:"held"`
	UserID ignored `json:"userId"`
}

func (s *Server) listProviders(w http.ResponseWriter, r *http.Request) error {
	list, err := s.Broker.Providers(r.Context(), callerOf(r.Context()))
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, list)
}

func (s *Server) showProvider(w http.ResponseWriter, r *http.Request) error {
	d, err := s.Broker.Provider(r.Context(), callerOf(r.Context()), r.PathValue("id"))
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, d)
}

func (s *Server) createProvider(w http.ResponseWriter, r *http.Request) error {
	return s.storeProvider(w, r, "", http.StatusCreated)
}

func (s *Server) putProvider(w http.ResponseWriter, r *http.Request) error {
	return s.storeProvider(w, r, r.PathValue("id"), http.StatusOK)
}

// storeProvider creates a definition where id is empty, else replaces it.
func (s *Server) storeProvider(w http.ResponseWriter, r *http.Request, id string, status int) error {
	var body providerBody
	if err := decode(r, &body); err != nil {
		return err
	}
	create := id == ""
	if !create {
		if err := sameID("id", body.ID, id); err != nil {
			return err
		}
		body.ID = id
	}
	override, err := flag(r, "override")
	if err != nil {
		return err
	}
	d, err := s.Broker.PutProvider(r.Context(), callerOf(r.Context()), body.Definition, create, orZero(override))
	if err != nil {
		return err
	}
	return answer(w, status, d)
}

func (s *Server) deleteProvider(w http.ResponseWriter, r *http.Request) error {
	return answerNothing(w, s.Broker.DeleteProvider(r.Context(), callerOf(r.Context()), r.PathValue("id")))
}

// acceptProvider is the operator's word for the hosts that a definition names.
func (s *Server) acceptProvider(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Origins []string `json:"origins"`
		UserID  ignored  `json:"userId"`
	}
	if err := decodeOptional(r, &body); err != nil {
		return err
	}
	accepted, err := s.Broker.AcceptProvider(r.Context(), callerOf(r.Context()), r.PathValue("id"), body.Origins)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, client.Acceptance{
		ProviderID: accepted.ProviderID, Origins: accepted.Origins, Credentials: accepted.Credentials, App: accepted.App,
	})
}

func (s *Server) listApps(w http.ResponseWriter, r *http.Request) error {
	apps, err := s.Broker.ListApps(r.Context(), callerOf(r.Context()))
	if err != nil {
		return err
	}
	list := make([]client.App, len(apps))
	for i, app := range apps {
		list[i] = appOf(app)
	}
	return answer(w, http.StatusOK, list)
}

func (s *Server) showApp(w http.ResponseWriter, r *http.Request) error {
	app, err := s.Broker.ShowApp(r.Context(), callerOf(r.Context()), r.PathValue("id"))
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, appOf(app))
}

func (s *Server) putApp(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		client.App
		noFields
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	id := r.PathValue("id")
	if err := sameID("providerId", body.ProviderID, id); err != nil {
		return err
	}
	app, err := s.Broker.PutApp(r.Context(), callerOf(r.Context()), broker.App{
		ProviderID: id,
		Client: broker.Client{
			ID: body.ClientID, Secret: broker.NewSecret(body.ClientSecret),
			PrivateKey: broker.NewSecret(body.PrivateKey), PrivateKeyID: body.PrivateKeyID,
			Certificate: body.Certificate,
		},
		Inputs: body.Inputs,
	})
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, appOf(app))
}

func (s *Server) deleteApp(w http.ResponseWriter, r *http.Request) error {
	return answerNothing(w, s.Broker.DeleteApp(r.Context(), callerOf(r.Context()), r.PathValue("id")))
}
