package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
)

// issuer returns a connection whose endpoints are left to metadata.
func issuer(url string) broker.Connection {
	k := connection("")
	k.Definition.AuthorizationURL = ""
	k.Definition.Issuer = url
	return k
}

// publish serves documents by path; $ is where they are served.
func publish(t *testing.T, documents map[string]string) *recorder {
	t.Helper()
	var r *recorder
	r = record(t, func(w http.ResponseWriter, q *http.Request) {
		document, ok := documents[q.URL.Path]
		if !ok {
			http.NotFound(w, q)
			return
		}
		fmt.Fprint(w, strings.ReplaceAll(document, "$", r.URL))
	})
	return r
}

func TestDiscoveryThroughAFlow(t *testing.T) {
	server := brokertest.StartAuthServer(t, brokertest.AuthConfig{})
	c := newClient(t)
	k := issuer(server.URL)
	k.Client = server.Client()
	link, err := c.AuthorizationURL(t.Context(), k, broker.AuthorizationRequest{State: "s", RedirectURI: "http://127.0.0.1/cb"})
	if err != nil {
		t.Fatal(err)
	}
	code, _, err := server.Consent(link)
	if err != nil {
		t.Fatal(err)
	}
	token, err := c.Exchange(t.Context(), k, broker.CodeExchange{Code: broker.NewSecret(code), RedirectURI: "http://127.0.0.1/cb"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Revoke(t.Context(), k, token.RefreshToken, ""); err != nil || server.Live(token.AccessToken.Reveal()) {
		t.Errorf("Revoke at the discovered endpoint = %v, want the token dead", err)
	}
	check, err := c.IssuerCheck(t.Context(), k)
	if want := (broker.IssuerCheck{Issuer: server.URL, Required: true}); err != nil || check != want {
		t.Errorf("IssuerCheck = %+v, %v, want %+v", check, err, want)
	}
	looks := 0
	for _, request := range server.Requests() {
		if strings.HasPrefix(request.Path, "/.well-known/") {
			looks++
		}
	}
	if looks != 1 {
		t.Errorf("the metadata was fetched %d times, want once", looks)
	}
}

func TestIssuerCheckWithoutDiscovery(t *testing.T) {
	k := connection("https://acme.example/token")
	for issuer, want := range map[string]broker.IssuerCheck{"": {}, "https://acme.example/{tenant}": {Issuer: "https://acme.example/t1"}} {
		k.Definition.Issuer = issuer
		k.Inputs = map[string]string{"tenant": "t1"}
		if got, err := newClient(t).IssuerCheck(t.Context(), k); err != nil || got != want {
			t.Errorf("IssuerCheck of %q = %+v, %v, want %+v", issuer, got, err, want)
		}
	}
}

func TestDiscoveryPlaces(t *testing.T) {
	document := func(issuer string) string {
		return `{"issuer":"` + issuer + `","authorization_endpoint":"$/found","token_endpoint":"$/token"}`
	}
	for _, test := range []struct {
		name, path string
		documents  map[string]string
		fails      string // part of the error, "" for success
	}{
		{"RFC 8414", "", map[string]string{"/.well-known/oauth-authorization-server": document("$")}, ""},
		{"RFC 8414 with a path", "/t/1", map[string]string{"/.well-known/oauth-authorization-server/t/1": document("$/t/1")}, ""},
		{"RFC 8414, slash at the end", "/", map[string]string{"/.well-known/oauth-authorization-server": document("$/")}, ""},
		{"OpenID", "", map[string]string{"/.well-known/openid-configuration": document("$")}, ""},
		{"OpenID with a path", "/t/1", map[string]string{"/t/1/.well-known/openid-configuration": document("$/t/1")}, ""},
		{"OpenID behind a lie", "", map[string]string{"/.well-known/oauth-authorization-server": document("$/x"), "/.well-known/openid-configuration": document("$")}, ""},
		{"nowhere", "", nil, "answered 404"},
		{"another issuer", "", map[string]string{"/.well-known/oauth-authorization-server": document("https://evil.example")}, "is not that of the issuer"},
		{"a slash too many", "", map[string]string{"/.well-known/openid-configuration": document("$/")}, "is not that of the issuer"},
		{"no issuer", "", map[string]string{"/.well-known/openid-configuration": `{"token_endpoint":"$/token"}`}, "is not that of the issuer"},
		{"issuer twice", "", map[string]string{"/.well-known/openid-configuration": `{"issuer":"$","issuer":"https://evil.example"}`}, "a name twice"},
		{"HTML", "", map[string]string{"/.well-known/openid-configuration": `<html>canary`}, "no JSON"},
		{"endpoint of http:", "", map[string]string{"/.well-known/openid-configuration": `{"issuer":"$","authorization_endpoint":"https://a.example","token_endpoint":"http://203.0.113.1/"}`}, "tokenUrl must be https:"},
		{"endpoint of javascript:", "", map[string]string{"/.well-known/openid-configuration": `{"issuer":"$","authorization_endpoint":"javascript:alert(1)","token_endpoint":"$/"}`}, "authorizationUrl"},
		{"endpoint with a user", "", map[string]string{"/.well-known/openid-configuration": `{"issuer":"$","authorization_endpoint":"https://a@b.example","token_endpoint":"$/"}`}, "authorizationUrl"},
		{"endpoint with braces", "", map[string]string{"/.well-known/openid-configuration": `{"issuer":"$","authorization_endpoint":"https://{canary}.example","token_endpoint":"$/"}`}, "braces"},
		{"no authorization endpoint", "", map[string]string{"/.well-known/openid-configuration": `{"issuer":"$","token_endpoint":"$/"}`}, "has no endpoint for it"},
	} {
		t.Run(test.name, func(t *testing.T) {
			provider := publish(t, test.documents)
			link, err := newClient(t).AuthorizationURL(t.Context(), issuer(provider.URL+test.path), broker.AuthorizationRequest{State: "s"})
			if test.fails == "" {
				if want := provider.URL + "/found?client_id=client+id&response_type=code&state=s"; err != nil || link != want {
					t.Errorf("AuthorizationURL = %q, %v, want %q", link, err, want)
				}
				return
			}
			failed := providerError(t, err)
			if failed.Op != "authorize" || failed.Sent != broker.SentNever || !strings.Contains(err.Error(), test.fails) {
				t.Errorf("AuthorizationURL = %v, want an error with %q and Sent never", err, test.fails)
			}
		})
	}
}

func TestDiscoveryFailureIsNotRemembered(t *testing.T) {
	server := brokertest.StartAuthServer(t, brokertest.AuthConfig{})
	_, refresh := server.Grant("")
	server.Fail(brokertest.Fault{Path: "/.well-known/oauth-authorization-server", Status: 503, Header: map[string]string{"Retry-After": "9"}})
	k := issuer(server.URL)
	k.Client = server.Client()
	c := newClient(t)
	_, err := c.Refresh(t.Context(), k, broker.NewSecret(refresh))
	if failed := providerError(t, err); failed.Op != "refresh" || failed.Sent != broker.SentNever {
		t.Errorf("Refresh without metadata = %+v, want refresh, never sent", *failed)
	}
	if _, err := c.Refresh(t.Context(), k, broker.NewSecret(refresh)); err != nil {
		t.Errorf("Refresh after the metadata is back = %v", err)
	}
}

func TestDiscoveryIsSharedAndOutlivesItsFirstCaller(t *testing.T) {
	server := brokertest.StartAuthServer(t, brokertest.AuthConfig{})
	reached, release := make(chan struct{}), make(chan struct{})
	server.Fail(brokertest.Fault{Path: "/.well-known/oauth-authorization-server", Reached: reached, Wait: release})
	c := newClient(t)
	k := issuer(server.URL)
	first, hangUp := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() {
		_, err := c.IssuerCheck(first, k)
		gone <- err
	}()
	<-reached
	var others sync.WaitGroup
	for range 20 {
		others.Go(func() {
			if _, err := c.IssuerCheck(t.Context(), k); err != nil {
				t.Errorf("IssuerCheck = %v, want the answer that another caller asked for", err)
			}
		})
	}
	hangUp()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("IssuerCheck of the caller who left = %v, want context.Canceled", err)
	}
	close(release)
	others.Wait()
	if got := server.Stats().Requests; got != 1 {
		t.Errorf("requests = %d, want 1", got)
	}
}

func TestDiscoveryLastsAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := brokertest.NewAuthServer(brokertest.AuthConfig{})
		c := New(Config{Dial: server.Dial, Addresses: loopback})
		defer c.Close()
		for _, step := range []struct {
			after time.Duration
			want  int
		}{{0, 1}, {time.Hour - time.Second, 1}, {time.Second, 2}} {
			time.Sleep(step.after)
			if _, err := c.IssuerCheck(t.Context(), issuer(server.URL)); err != nil {
				t.Fatal(err)
			}
			if got := server.Stats().Requests; got != step.want {
				t.Errorf("requests after %v more = %d, want %d", step.after, got, step.want)
			}
		}
	})
}
