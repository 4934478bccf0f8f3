package socket

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

// maxPage is how many credentials a page may have at most.
const maxPage = 1000

func (s *Server) listCredentials(w http.ResponseWriter, r *http.Request) error {
	filter, err := filterOf(r)
	if err != nil {
		return err
	}
	views, more, err := s.Broker.Credentials(r.Context(), callerOf(r.Context()), filter)
	if err != nil {
		return err
	}
	list := make([]client.Credential, len(views))
	for i, view := range views {
		list[i] = credentialOf(view)
		list[i].Config = nil
	}
	if more {
		w.Header().Set("Link", nextPage(r, views[len(views)-1].Summary))
	}
	return answer(w, http.StatusOK, list)
}

func filterOf(r *http.Request) (f broker.Filter, err error) {
	q := r.URL.Query()
	f = broker.Filter{
		Type: q.Get("type"), Provider: q.Get("provider"), WorkspaceID: q.Get("workspaceId"), Name: q.Get("name"),
		AuthType: broker.AuthType(q.Get("authType")), Status: broker.Status(q.Get("status")),
	}
	if f.Status != "" && !slices.Contains(broker.Statuses, f.Status) {
		return f, invalidRequest("status", "give one of %s", words(broker.Statuses))
	}
	if f.AuthType != "" && !slices.Contains(broker.AuthTypes, f.AuthType) {
		return f, invalidRequest("authType", "give one of %s", words(broker.AuthTypes))
	}
	if f.IsActive, err = flag(r, "isActive"); err != nil {
		return f, err
	}
	if text := q.Get("limit"); text != "" {
		limit, err := strconv.ParseUint(text, 10, 31)
		if err != nil || limit == 0 {
			return f, invalidRequest("limit", "give a number from 1 to %d", maxPage)
		}
		f.Limit = min(int(limit), maxPage)
	}
	if text := q.Get("cursor"); text != "" {
		f.After, err = parseCursor(text)
	}
	return f, err
}

// words joins names for a person.
func words[T ~string](names []T) string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = string(name)
	}
	return strings.Join(out, ", ")
}

// A cursor is where the last entry of a page stands in the order of lists, so
// that what is created or deleted meanwhile neither repeats nor skips another.
func cursorOf(last broker.Summary) string {
	position := strconv.FormatInt(last.CreatedAt.UnixNano(), 10) + " " + string(last.ID)
	return base64.RawURLEncoding.EncodeToString([]byte(position))
}

func parseCursor(text string) (broker.Summary, error) {
	position, err := base64.RawURLEncoding.DecodeString(text)
	at, id, ok := strings.Cut(string(position), " ")
	nanoseconds, badNumber := strconv.ParseInt(at, 10, 64)
	if err != nil || !ok || badNumber != nil || id == "" {
		return broker.Summary{}, invalidRequest("cursor", "give one that came in a Link header, or none")
	}
	return broker.Summary{ID: broker.ID(id), CreatedAt: time.Unix(0, nanoseconds)}, nil
}

// nextPage is the Link (RFC 8288) to the page after last, with the same filters.
func nextPage(r *http.Request, last broker.Summary) string {
	q := r.URL.Query()
	q.Set("cursor", cursorOf(last))
	return "<" + r.URL.EscapedPath() + "?" + q.Encode() + `>; rel="next"`
}
