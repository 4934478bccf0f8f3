package socket

import (
	"net/http"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

// rotateKey has a new key open the store, or retires the old one.
func (s *Server) rotateKey(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Key    *string `json:"key"`
		Retire bool    `json:"retire"`
		UserID ignored `json:"userId"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	if body.Key == nil && !body.Retire {
		return invalidRequest("key", "give the new key, or say that the old one is to be retired")
	}
	if body.Key != nil && body.Retire {
		return invalidRequest("retire", "cannot be said together with a new key")
	}
	ctx, caller := r.Context(), callerOf(r.Context())
	var ids broker.KeyIDs
	var err error
	if body.Retire {
		ids, err = s.Broker.RetireKeys(ctx, caller)
	} else {
		ids, err = s.Broker.AddKey(ctx, caller, broker.NewSecret(*body.Key))
	}
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, client.Keys{Keys: ids.All, Active: ids.Active})
}
