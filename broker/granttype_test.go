package broker_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/invectd/invectd/broker"
)

const (
	jwtBearer     = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	tokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	somePEM       = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
)

// TestGrantFields creates with what each grant needs, and with what it cannot do
// without missing.
func TestGrantFields(t *testing.T) {
	b, _ := newBroker(t, &provider{})
	for name, test := range map[string]struct {
		config map[string]any
		wrong  string // the field that is named; "" for none
	}{
		"an assertion":                        {map[string]any{"grantType": jwtBearer, "clientId": "c", "privateKey": somePEM, "claims": map[string]any{"kind": "x"}}, ""},
		"an assertion with the app's key":     {map[string]any{"grantType": jwtBearer, "subject": "ada"}, ""},
		"an assertion without a key":          {map[string]any{"grantType": jwtBearer, "clientId": "c"}, "config.privateKey"},
		"an assertion with something else":    {map[string]any{"grantType": jwtBearer, "issuer": "c", "privateKey": "AAAA"}, "config.privateKey"},
		"an assertion of nobody":              {map[string]any{"grantType": jwtBearer, "privateKey": somePEM}, "config.clientId"},
		"an assertion with a claim of ours":   {map[string]any{"grantType": jwtBearer, "claims": map[string]any{"exp": "1"}}, "config.claims.exp"},
		"an exchange":                         {map[string]any{"grantType": tokenExchange, "clientId": "c", "subjectToken": "t"}, ""},
		"an exchange of nothing":              {map[string]any{"grantType": tokenExchange, "clientId": "c"}, "config.subjectToken"},
		"an exchange of two":                  {map[string]any{"grantType": tokenExchange, "subjectToken": "t", "subjectCredentialId": "x"}, "config.subjectToken"},
		"an exchange for no type":             {map[string]any{"grantType": tokenExchange, "subjectToken": "t", "requestedTokenType": "jwt"}, "config.requestedTokenType"},
		"an exchange of what no header has":   {map[string]any{"grantType": tokenExchange, "subjectToken": "t\n"}, "config.subjectToken"},
		"an unknown grant":                    {map[string]any{"grantType": "password"}, "config.grantType"},
		"a device flow that nobody has begun": {map[string]any{"deviceFlow": map[string]any{"code": "x", "status": "pending"}}, ""},
	} {
		view, err := b.CreateCredential(t.Context(), self, broker.NewCredential{AuthType: broker.AuthOAuth2, Provider: "acme", Config: test.config})
		invalid, ok := errors.AsType[*broker.InvalidError](err)
		switch {
		case test.wrong == "" && err != nil:
			t.Errorf("%s: %v, want none", name, err)
		case test.wrong == "" && test.config["deviceFlow"] != nil && view.Renewable:
			t.Errorf("%s: it is taken for one that is polled", name)
		case test.wrong != "" && (!ok || invalid.Fields[0].Path != test.wrong):
			t.Errorf("%s: %v, want an error about %s", name, err, test.wrong)
		}
	}
	_, err := b.CreateCredential(t.Context(), self, broker.NewCredential{AuthType: broker.AuthOAuth2, Config: map[string]any{"grantType": jwtBearer, "subject": "ada"}})
	if invalid, ok := errors.AsType[*broker.InvalidError](err); !ok || invalid.Fields[0].Path != "provider" {
		t.Errorf("without a provider: %v, want an error about it", err)
	}
}

// TestServiceAccount takes a key file as it comes, and shows nothing of it but
// whose it is.
func TestServiceAccount(t *testing.T) {
	b, store := newBroker(t, &provider{})
	file := map[string]any{
		"type": "service_account", "project_id": "p", "private_key_id": "k1", "private_key": somePEM,
		"client_email": "robot@p.iam.gserviceaccount.com", "client_id": "1234", "auth_uri": "https://accounts.google.com/o/oauth2/auth",
		"token_uri": "https://oauth2.googleapis.com/token", "universe_domain": "googleapis.com", "subject": "ada@example.com",
	}
	view, err := b.CreateCredential(t.Context(), self, broker.NewCredential{AuthType: broker.AuthOAuth2, Provider: "acme", Config: file})
	if err != nil {
		t.Fatalf("CreateCredential = %v", err)
	}
	got := fmt.Sprint(view.Config.Masked())
	want := fmt.Sprint(map[string]any{
		"audience": broker.Mask, "clientId": "robot@p.iam.gserviceaccount.com", "grantType": jwtBearer, "oauth2Provider": "acme",
		"privateKey": broker.Mask, "privateKeyId": broker.Mask, "subject": broker.Mask,
	})
	if got != want {
		t.Errorf("config = %s, want %s", got, want)
	}
	if !view.Renewable {
		t.Error("it is not renewable, want that it gets its own tokens")
	}
	c, err := store.Get(t.Context(), view.ID)
	if err != nil {
		t.Fatal(err)
	}
	a := c.Assertion([]string{"s"})
	if a.Subject != "ada@example.com" || a.Audience != file["token_uri"] || a.Issuer != "" {
		t.Errorf("Assertion = %+v", a)
	}
	// Its key is replaced by giving the next file.
	file["private_key_id"] = "k2"
	delete(file, "subject")
	if _, err := b.UpdateCredential(t.Context(), self, string(view.ID), broker.CredentialPatch{Config: file}); err != nil {
		t.Fatalf("UpdateCredential = %v", err)
	}
	if c, err = store.Get(t.Context(), view.ID); err != nil || c.Config.Text("privateKeyId") != "k2" || c.Config.Text("subject") == "" || c.Config.Text("type") != "" {
		t.Errorf("after the next key file: %v, %v", c.Config.Masked(), err)
	}
}

// TestSubjectCredentialID: a token may be traded by those who may read it, and
// the choice cannot be changed later.
func TestSubjectCredentialID(t *testing.T) {
	b, _ := newBroker(t, &provider{})
	create := func(caller broker.Caller, authType broker.AuthType, config map[string]any) (broker.View, error) {
		return b.CreateCredential(t.Context(), caller, broker.NewCredential{Name: "n" + fmt.Sprint(len(config)), AuthType: authType, Provider: "acme", Config: config})
	}
	subject, err := create(self, broker.AuthBearer, map[string]any{"token": "t"})
	if err != nil {
		t.Fatal(err)
	}
	trade := map[string]any{"grantType": tokenExchange, "clientId": "c", "subjectCredentialId": subject.Name}
	trader, err := create(self, broker.AuthOAuth2, trade)
	if err != nil {
		t.Fatalf("CreateCredential = %v", err)
	}
	if got := trader.Config.Text("subjectCredentialId"); got != string(subject.ID) {
		t.Errorf("subjectCredentialId = %q, want the id %q", got, subject.ID)
	}
	if _, err := create(broker.Caller{UID: 4711, Attested: true}, broker.AuthOAuth2, trade); !errors.Is(err, broker.ErrForbidden) {
		t.Errorf("of a stranger = %v, want ErrForbidden", err)
	}
	trade["subjectCredentialId"] = string(trader.ID)
	if _, err := create(self, broker.AuthOAuth2, trade); err == nil || !strings.Contains(err.Error(), "trades the token of another one itself") {
		t.Errorf("of one that trades itself = %v, want that it is refused", err)
	}
	trade["subjectCredentialId"] = "nobody"
	if _, err := create(self, broker.AuthOAuth2, trade); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("of nobody = %v, want ErrNotFound", err)
	}
	for key, value := range map[string]any{"subjectCredentialId": "another", "deviceFlow": map[string]any{"code": "x"}} {
		_, err := b.UpdateCredential(t.Context(), self, string(trader.ID), broker.CredentialPatch{Config: map[string]any{key: value}})
		if invalid, ok := errors.AsType[*broker.InvalidError](err); !ok || invalid.Fields[0].Path != "config."+key {
			t.Errorf("changing %s = %v, want that it is refused", key, err)
		}
	}
}
