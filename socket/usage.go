package socket

import (
	"net/http"
	"strconv"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

func (s *Server) usage(w http.ResponseWriter, r *http.Request) error {
	usage, err := s.Broker.Usage(r.Context(), callerOf(r.Context()), r.PathValue("ref"))
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, client.Usage{ReadCount: usage.ReadCount, LastUsedAt: timeOrNull(usage.LastUsedAt)})
}

func (s *Server) trackUsage(w http.ResponseWriter, r *http.Request) error {
	if err := decodeNothing(r); err != nil {
		return err
	}
	return answerNothing(w, s.Broker.TrackUsage(r.Context(), callerOf(r.Context()), r.PathValue("ref")))
}

// maxExpiryDays is what daysUntilExpiry may be at most, a hundred years.
const maxExpiryDays = 36500

func (s *Server) expiring(w http.ResponseWriter, r *http.Request) error {
	days := uint64(7)
	if text := r.URL.Query().Get("daysUntilExpiry"); text != "" {
		var err error
		if days, err = strconv.ParseUint(text, 10, 32); err != nil || days > maxExpiryDays {
			return invalidRequest("daysUntilExpiry", "give a number of days from 0 to %d", maxExpiryDays)
		}
	}
	until := time.Now().Add(time.Duration(days) * 24 * time.Hour)
	views, _, err := s.Broker.Credentials(r.Context(), callerOf(r.Context()), broker.Filter{ExpiresBy: until})
	if err != nil {
		return err
	}
	list := make([]client.Credential, len(views))
	for i, view := range views {
		list[i] = credentialOf(view)
	}
	return answer(w, http.StatusOK, list)
}
