package socket

import (
	"net/http"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

func (s *Server) listPlugins(w http.ResponseWriter, r *http.Request) error {
	all, err := s.Broker.ListPlugins(callerOf(r.Context()))
	if err != nil {
		return err
	}
	list := make([]client.Plugin, len(all))
	for i, p := range all {
		list[i] = pluginOf(p)
	}
	return answer(w, http.StatusOK, list)
}

func (s *Server) trustPlugin(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		client.PluginTrust
		noFields
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	hooks := make([]broker.Hook, len(body.Hooks))
	for i, hook := range body.Hooks {
		hooks[i] = broker.Hook(hook)
	}
	p, err := s.Broker.TrustPlugin(r.Context(), callerOf(r.Context()), r.PathValue("name"), body.Digest, hooks)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, pluginOf(p))
}

func (s *Server) distrustPlugin(w http.ResponseWriter, r *http.Request) error {
	return answerNothing(w, s.Broker.DistrustPlugin(r.Context(), callerOf(r.Context()), r.PathValue("name")))
}

func pluginOf(p broker.Plugin) client.Plugin {
	return client.Plugin{
		Name: p.Name, Path: p.Path, Digest: p.Digest, State: string(p.State), Version: p.Version,
		Providers: append([]string{}, p.Providers...), Restarts: p.Restarts,
		Hooks: hookNames(p.Declared), Granted: hookNames(p.Granted), Error: p.Error,
	}
}

func hookNames(hooks []broker.Hook) []string {
	names := make([]string, len(hooks))
	for i, hook := range hooks {
		names[i] = string(hook)
	}
	return names
}
