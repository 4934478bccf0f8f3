package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/invectd/invectd/socket/client"
)

// The tests in servers_*_test.go play every grant and every way to prove a client
// through the whole daemon against authorization servers that others wrote and
// keep, over real HTTP.

// A matrix is what was played with one server, printed in the end.
type matrix struct {
	server string
	mu     sync.Mutex
	rows   []string // guarded by mu
}

func newMatrix(t *testing.T, server string) *matrix {
	m := &matrix{server: server}
	t.Cleanup(func() {
		var text strings.Builder
		table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
		for _, row := range m.rows {
			fmt.Fprintln(table, row)
		}
		table.Flush()
		t.Logf("%s:\n%s", m.server, text.String())
	})
	return m
}

// play runs one row of the matrix. what names the grant, how the client's proof.
func (m *matrix) play(t *testing.T, what, how string, play func(t *testing.T)) {
	t.Run(strings.ReplaceAll(what+"/"+how, " ", "_"), func(t *testing.T) {
		defer func() {
			result := "ok"
			switch {
			case t.Failed():
				result = "FAILED"
			case t.Skipped():
				result = "skipped"
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			m.rows = append(m.rows, strings.Join([]string{what, how, result}, "\t"))
		}()
		play(t)
	})
}

// browserEnd is where the browser is sent in the end. Nobody listens there: it is
// stopped before.
const browserEnd = "http://127.0.0.1:9/callback"

// A person uses a browser without JavaScript, and fills in forms.
type person struct {
	t       *testing.T
	browser *http.Client
	answers url.Values // what goes into fields and onto buttons, by name
	agrees  bool
}

func newPerson(t *testing.T, transport http.RoundTripper, agrees bool, answers url.Values) *person {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &person{t, &http.Client{Jar: jar, Transport: transport, CheckRedirect: stopAtFrontEnd}, answers, agrees}
}

var errAtFrontEnd = errors.New("the browser is back")

func stopAtFrontEnd(r *http.Request, _ []*http.Request) error {
	if strings.HasPrefix(r.URL.String(), browserEnd) {
		return errAtFrontEnd
	}
	return nil
}

// open goes through the pages of a server, and returns where the browser is sent
// in the end: the front end, or nil where the last page says that it is done.
func (p *person) open(address string) *url.URL {
	p.t.Helper()
	response, err := p.browser.Get(address)
	for range 10 {
		if failed, ok := errors.AsType[*url.Error](err); ok && errors.Is(err, errAtFrontEnd) {
			back, err := url.Parse(failed.URL)
			if err != nil {
				p.t.Fatal(err)
			}
			return back
		}
		if err != nil {
			p.t.Fatalf("opening %s: %v", address, err)
		}
		page, readErr := io.ReadAll(response.Body)
		response.Body.Close()
		if readErr != nil || response.StatusCode >= 400 {
			p.t.Fatalf("%s answers %s: %v %s", response.Request.URL, response.Status, readErr, page)
		}
		var more bool
		if response, more, err = p.next(response.Request.URL, string(page)); err == nil && !more {
			return nil
		}
	}
	p.t.Fatalf("the pages of %s do not end", address)
	return nil
}

var (
	formTag  = regexp.MustCompile(`(?s)<form\b[^>]*>`)
	inputTag = regexp.MustCompile(`(?s)<input\b[^>]*>`)
	linkTo   = regexp.MustCompile(`location\.href='([^']*action=(allowed|denied))'`)
)

// attribute returns that of a tag, "" if it has none.
func attribute(tag, name string) string {
	found := regexp.MustCompile(`\b` + name + `="([^"]*)"`).FindStringSubmatch(tag)
	if found == nil {
		return ""
	}
	return strings.ReplaceAll(found[1], "&amp;", "&")
}

// next does what a page asks for; more is false where it asks for nothing.
func (p *person) next(at *url.URL, page string) (response *http.Response, more bool, err error) {
	for _, link := range linkTo.FindAllStringSubmatch(page, -1) {
		if (link[2] == "allowed") == p.agrees {
			target, err := at.Parse(link[1])
			if err != nil {
				return nil, false, err
			}
			response, err = p.browser.Get(target.String())
			return response, true, err
		}
	}
	form := formTag.FindString(page)
	if form == "" || strings.Contains(page, "request was interrupted") { // that page would begin anew
		return nil, false, nil
	}
	fields := url.Values{}
	for _, input := range inputTag.FindAllString(page, -1) {
		if name := attribute(input, "name"); name != "" {
			fields.Set(name, attribute(input, "value"))
		}
	}
	for name, value := range p.answers {
		fields[name] = value
	}
	target, err := at.Parse(attribute(form, "action"))
	if err != nil {
		return nil, false, err
	}
	response, err = p.browser.PostForm(target.String(), fields)
	return response, true, err
}

// A session is one daemon that knows one server.
type session struct {
	*client.Client
	transport http.RoundTripper // that reaches the server, as a browser does
	answers   url.Values        // of a person who agrees
	denial    url.Values        // of one who does not
}

func (s *session) person(t *testing.T, agrees bool) *person {
	answers := s.answers
	if !agrees {
		answers = s.denial
	}
	return newPerson(t, s.transport, agrees, answers)
}

// define makes a provider known, and its client.
func (s *session) define(t *testing.T, definition client.Provider, app client.App) {
	t.Helper()
	definition.Name, app.ProviderID = definition.ID, definition.ID
	if _, err := s.PutProvider(t.Context(), definition.Definition, false); err != nil {
		t.Fatalf("PutProvider = %v", err)
	}
	if _, err := s.PutApp(t.Context(), app); err != nil {
		t.Fatalf("PutApp = %v", err)
	}
}

// consent begins a flow and returns what the browser brings back of it.
func (s *session) consent(t *testing.T, provider string, agrees bool, params map[string]string) client.CallbackRequest {
	t.Helper()
	started, err := s.Start(t.Context(), client.StartRequest{ProviderID: provider, RedirectURI: browserEnd, Params: params})
	if err != nil {
		t.Fatalf("Start = %v", err)
	}
	back := s.person(t, agrees).open(started.AuthorizationURL)
	if back == nil {
		t.Fatal("the browser never came back")
	}
	q := back.Query()
	if q.Get("state") != started.State || (q.Get("error") == "") != agrees {
		t.Fatalf("the browser came back with %v", q)
	}
	return client.CallbackRequest{Code: q.Get("code"), State: started.State, Issuer: q.Get("iss")}
}

// connect goes through the authorization-code flow.
func (s *session) connect(t *testing.T, provider string) string {
	t.Helper()
	credential, err := s.Callback(t.Context(), s.consent(t, provider, true, nil))
	if err != nil {
		t.Fatalf("Callback = %v", err)
	}
	s.wantToken(t, credential.ID, 1)
	return credential.ID
}

func (s *session) wantToken(t *testing.T, ref string, generation uint64) client.Token {
	t.Helper()
	token, err := s.Token(t.Context(), ref, client.ReadOptions{})
	if err != nil || token.Generation != generation || token.AccessToken == "" {
		t.Fatalf("Token(%s) = generation %d, %v, want %d", ref, token.Generation, err, generation)
	}
	return token
}

// wantRefreshes renews twice: the second time spends what the first one brought.
func (s *session) wantRefreshes(t *testing.T, ref string) {
	t.Helper()
	seen := map[string]bool{s.wantToken(t, ref, 1).AccessToken: true}
	for generation := uint64(2); generation <= 3; generation++ {
		if c, err := s.RefreshCredential(t.Context(), ref); err != nil || c.Status != "active" {
			t.Fatalf("RefreshCredential = %s, %v", c.Status, err)
		}
		token := s.wantToken(t, ref, generation).AccessToken
		if seen[token] {
			t.Error("the same access token came again")
		}
		seen[token] = true
	}
}

// wantWorks asks the provider about a token, by introspection or identity.
func (s *session) wantWorks(t *testing.T, ref string, want bool) {
	t.Helper()
	if test, err := s.TestCredential(t.Context(), ref); err != nil || test.Success != want {
		t.Errorf("TestCredential = %+v, %v, want %v", test, err, want)
	}
}

// create stores a credential of a grant that needs no person.
func (s *session) create(t *testing.T, provider string, config map[string]any) string {
	t.Helper()
	c, err := s.CreateCredential(t.Context(), client.CredentialInput{AuthType: new("oauth2"), Provider: &provider, Config: config})
	if err != nil {
		t.Fatalf("CreateCredential = %v", err)
	}
	return c.ID
}

// device begins a device grant, for which a person does what is to be done.
func (s *session) device(t *testing.T, provider string, agrees bool) client.StartedDevice {
	t.Helper()
	started, err := s.StartDevice(t.Context(), client.DeviceRequest{ProviderID: provider})
	if err != nil {
		t.Fatalf("StartDevice = %v", err)
	}
	if _, err := s.Token(t.Context(), started.CredentialID, client.ReadOptions{}); !isCode(err, "authorization_pending") {
		t.Errorf("Token = %v, want authorization_pending", err)
	}
	page := started.VerificationURIComplete
	if page == "" {
		page = started.VerificationURI
	}
	s.person(t, agrees).open(page)
	return started
}

// awaitDevice returns how a device grant ended. It takes as long as the server's
// interval.
func (s *session) awaitDevice(t *testing.T, started client.StartedDevice) (status string) {
	t.Helper()
	if testing.Short() {
		t.Skip("it takes seconds until the server may be polled")
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range 300 {
		flow, err := s.DeviceFlow(t.Context(), started.DeviceFlowID)
		if err != nil {
			t.Fatalf("DeviceFlow = %v", err)
		}
		if flow.Status != "pending" {
			credential, err := s.Credential(t.Context(), flow.CredentialID)
			t.Logf("it is %s: %s %v", flow.Status, orEmpty(credential.StatusReason), err)
			return flow.Status
		}
		<-tick.C
	}
	t.Fatal("the device grant is still pending")
	return ""
}

func isCode(err error, code string) bool {
	answered, ok := errors.AsType[*client.Error](err)
	return ok && answered.Code == code
}

// startServer runs a server as a child until the test ends, and returns the issuer
// that it prints. It ends with its standard input.
func startServer(t *testing.T, cmd *exec.Cmd) (issuer string) {
	t.Helper()
	cmd.Stderr = t.Output()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		io.Copy(io.Discard, stdout)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", cmd, err)
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("%s did not start: %v", cmd, err)
	}
	return strings.TrimSpace(line)
}
