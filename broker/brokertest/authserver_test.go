package brokertest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/invectd/invectd/broker"
)

// ask posts a form to a server over its own dialler and returns the answer.
func ask(t *testing.T, s *AuthServer, path string, form url.Values) (int, map[string]any, error) {
	t.Helper()
	transport := &http.Transport{DialContext: s.Dial, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	form.Set("client_id", "client")
	form.Set("client_secret", "secret")
	answer, err := (&http.Client{Transport: transport}).PostForm(s.URL+path, form)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, nil, err
	}
	object := map[string]any{}
	if body = bytes.TrimSpace(body); len(body) > 0 {
		if err := json.Unmarshal(body, &object); err != nil {
			t.Fatalf("answer %q: %v", body, err)
		}
	}
	return answer.StatusCode, object, nil
}

func refreshForm(token string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
}

func TestAuthServerReuseRevokesTheFamily(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewAuthServer(AuthConfig{Grace: time.Minute})
		access, first := s.Grant("read")
		_, answer, err := ask(t, s, "/token", refreshForm(first))
		if err != nil {
			t.Fatal(err)
		}
		second, _ := answer["refresh_token"].(string)
		if second == "" || second == first || answer["expires_in"] != 3600.0 {
			t.Fatalf("first refresh = %v, want a new refresh token and an hour", answer)
		}
		if s.Live(first) || !s.Live(second) {
			t.Errorf("Live(first), Live(second) = %v, %v, want false, true", s.Live(first), s.Live(second))
		}
		time.Sleep(59 * time.Second)
		if status, _, _ := ask(t, s, "/token", refreshForm(first)); status != http.StatusOK {
			t.Errorf("reuse within the grace window = %d, want 200", status)
		}
		time.Sleep(time.Second)
		status, answer, _ := ask(t, s, "/token", refreshForm(first))
		if status != http.StatusBadRequest || answer["error"] != "invalid_grant" {
			t.Errorf("reuse after the grace window = %d %v, want 400 invalid_grant", status, answer)
		}
		if s.Live(second) || s.Live(access) {
			t.Error("the family lives on after a reuse")
		}
		want := AuthStats{Requests: 3, Refreshes: 2, Reuses: 1, FamiliesRevoked: 1}
		if got := s.Stats(); got != want {
			t.Errorf("Stats() = %+v, want %+v", got, want)
		}
	})
}

func TestAuthServerCodeNeedsItsVerifier(t *testing.T) {
	s := StartAuthServer(t, AuthConfig{RequirePKCE: true})
	link := s.URL + "/authorize?response_type=code&client_id=client&state=xyz&redirect_uri=http%3A%2F%2F127.0.0.1%2Fcb&scope=read"
	if _, _, err := s.Consent(link); err == nil {
		t.Fatal("Consent without a challenge succeeded")
	}
	// The pair of RFC 7636, appendix B.
	link += "&code_challenge_method=S256&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	for _, test := range []struct {
		verifier string
		status   int
	}{
		{"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", http.StatusOK},
		{"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXl", http.StatusBadRequest},
		{"", http.StatusBadRequest},
	} {
		code, state, err := s.Consent(link)
		if err != nil || state != "xyz" {
			t.Fatalf("Consent = %q, %v, want state xyz", state, err)
		}
		form := url.Values{
			"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {"http://127.0.0.1/cb"},
			"code_verifier": {test.verifier}, "client_id": {"client"}, "client_secret": {"secret"},
		}
		answer, err := http.PostForm(s.URL+"/token", form)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != test.status {
			t.Errorf("exchange with verifier %q = %d, want %d", test.verifier, answer.StatusCode, test.status)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestAuthServerFaults(t *testing.T) {
	s := NewAuthServer(AuthConfig{})
	_, token := s.Grant("")
	s.Fail(
		Fault{Drop: true},
		Fault{},
		Fault{Status: http.StatusTooManyRequests, Header: map[string]string{"Retry-After": "7"}, Body: `{"error":"slow_down"}`},
		Fault{Process: true, Drop: true},
	)
	if _, _, err := ask(t, s, "/token", refreshForm(token)); !errors.Is(err, io.EOF) {
		t.Errorf("dropped request = %v, want EOF", err)
	}
	if got := s.Stats().Refreshes; got != 0 {
		t.Errorf("refreshes after a drop before processing = %d, want 0", got)
	}
	_, answer, err := ask(t, s, "/token", refreshForm(token))
	if err != nil {
		t.Fatalf("request past the zero fault: %v", err)
	}
	token, _ = answer["refresh_token"].(string)
	if status, answer, _ := ask(t, s, "/token", refreshForm(token)); status != 429 || answer["error"] != "slow_down" {
		t.Errorf("scripted answer = %d %v, want 429 slow_down", status, answer)
	}
	if _, _, err := ask(t, s, "/token", refreshForm(token)); err == nil {
		t.Error("request dropped after processing got an answer")
	}
	if s.Live(token) {
		t.Error("the request dropped after processing had no effect")
	}
}

func TestAuthServerWaits(t *testing.T) {
	s := NewAuthServer(AuthConfig{})
	_, token := s.Grant("")
	reached, release := make(chan struct{}), make(chan struct{})
	s.Fail(Fault{Reached: reached, Wait: release, Process: true})
	done := make(chan int)
	go func() {
		status, _, _ := ask(t, s, "/token", refreshForm(token))
		done <- status
	}()
	<-reached
	select {
	case status := <-done:
		t.Fatalf("answered %d before the release", status)
	default:
	}
	close(release)
	if status := <-done; status != http.StatusOK {
		t.Errorf("released request = %d, want 200", status)
	}
}

func TestAuthServerRevocation(t *testing.T) {
	s := NewAuthServer(AuthConfig{ClientAuthentication: broker.ClientSecretPost})
	access, token := s.Grant("")
	for _, presented := range []string{token, "unknown"} {
		if status, _, err := ask(t, s, "/revoke", url.Values{"token": {presented}}); status != http.StatusOK {
			t.Errorf("revoking = %d, %v, want 200", status, err)
		}
	}
	if s.Live(access) || s.Live(token) {
		t.Error("a revoked family lives on")
	}
	if got := s.Requests(); len(got) != 2 || got[0].Form.Get("token") != token || !strings.HasPrefix(got[0].Path, "/revoke") {
		t.Errorf("Requests() = %d entries, want the two revocations", len(got))
	}
}
