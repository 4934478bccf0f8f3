package sandbox

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"strings"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

//go:embed consent.html
var consentHTML string

var consentTemplate = template.Must(template.New("consent").Parse(consentHTML))

// contentPolicy lets the form lead anywhere: Chromium holds form-action against
// every redirect that follows, and the last of them is the client's affair.
const contentPolicy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self' http: https:; frame-ancestors 'none'; base-uri 'none'"

// page is what the template shows: a question, else a message, else a form that
// asks for a user code.
type page struct {
	Question *question
	Message  string
}

// question asks a person for consent. Field is the form field, of the given
// Value, by which the answer finds its request.
type question struct {
	Client, Person       string
	Scopes               []string
	Action, Field, Value string
}

func (s *Server) showConsent(w http.ResponseWriter, r *http.Request) {
	id := r.FormValue("id")
	scopes, err := s.storage.pending(id)
	s.ask(w, question{Scopes: scopes, Action: consentPath, Field: "id", Value: id}, err)
}

// takeConsent sends the browser back to the client, with a code or with
// access_denied (RFC 6749, section 4.1.2).
func (s *Server) takeConsent(w http.ResponseWriter, r *http.Request) {
	allow, ok := decision(w, r)
	if !ok {
		return
	}
	request, err := s.storage.decide(r.PostFormValue("id"), allow)
	if err != nil {
		render(w, http.StatusBadRequest, page{Message: err.Error()})
		return
	}
	s.storage.log.Info("sandbox: consent decided", "subject", Person, "allowed", allow, "scopes", request.scopes)
	if !allow {
		op.AuthRequestError(w, r, request, oidc.ErrAccessDenied().WithDescription("the person denied access"), s.provider)
		return
	}
	op.AuthResponse(request, s.provider, w, r)
}

func (s *Server) showDevice(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("user_code") == "" {
		render(w, http.StatusOK, page{})
		return
	}
	code := userCode(r)
	scopes, err := s.storage.pendingDevice(code)
	s.ask(w, question{Scopes: scopes, Action: devicePath, Field: "user_code", Value: code}, err)
}

func (s *Server) takeDevice(w http.ResponseWriter, r *http.Request) {
	allow, ok := decision(w, r)
	if !ok {
		return
	}
	if err := s.storage.decideDevice(userCode(r), allow); err != nil {
		render(w, http.StatusBadRequest, page{Message: err.Error()})
		return
	}
	s.storage.log.Info("sandbox: device decided", "subject", Person, "allowed", allow)
	render(w, http.StatusOK, page{Message: "Done. You may close this window and return to your device."})
}

// userCode returns the code as it was shown, however it was typed.
func userCode(r *http.Request) string {
	return strings.ToUpper(strings.TrimSpace(r.FormValue("user_code")))
}

// decision returns which button was pressed; without one it answers 400.
func decision(w http.ResponseWriter, r *http.Request) (allow, ok bool) {
	answer := r.PostFormValue("decision")
	if answer != "allow" && answer != "deny" {
		render(w, http.StatusBadRequest, page{Message: "Neither Allow nor Deny was chosen."})
		return false, false
	}
	return answer == "allow", true
}

// ask shows the question, or the error that there is nothing to ask.
func (s *Server) ask(w http.ResponseWriter, q question, err error) {
	if err != nil {
		render(w, http.StatusBadRequest, page{Message: err.Error()})
		return
	}
	q.Client, q.Person = s.ClientID(), Person
	render(w, http.StatusOK, page{Question: &q})
}

func render(w http.ResponseWriter, status int, p page) {
	var body bytes.Buffer
	if err := consentTemplate.Execute(&body, p); err != nil {
		http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Security-Policy", contentPolicy)
	header.Set("Cache-Control", "no-store")
	header.Set("Referrer-Policy", "same-origin") // the URL holds the request's ID
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(body.Bytes())
}
