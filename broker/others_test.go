package broker_test

import (
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
)

// withUser has a provider answer with a second token, of a user.
func withUser(p *provider) {
	p.answer.Others = map[string]broker.TokenResponse{"user": {AccessToken: broker.NewSecret("at-user")}}
}

// finish completes a flow that was started.
func finish(t *testing.T, b *broker.Broker, started broker.Started) broker.View {
	t.Helper()
	done, err := b.CompleteRedirect(t.Context(), broker.Callback{State: started.State, Code: broker.NewSecret("c")})
	if err != nil {
		t.Fatalf("CompleteRedirect: %v", err)
	}
	return done.View
}

func accessTokenOf(t *testing.T, b *broker.Broker, id broker.ID) string {
	t.Helper()
	c, err := b.Credential(t.Context(), self, string(id))
	if err != nil {
		t.Fatalf("Credential(%s): %v", id, err)
	}
	return c.Config.Secret(broker.KeyAccessToken).Reveal()
}

// TestPlantedPlace: who may write a credential cannot make it the place where
// another one's further token goes.
func TestPlantedPlace(t *testing.T) {
	p := &provider{}
	b, _ := newBroker(t, p)
	first := finish(t, b, start(t, b, broker.StartRequest{CredentialName: "Team"}))
	planted := map[string]any{"connectedWith": string(first.ID), "team": "a"}
	trap := create(t, b, broker.NewCredential{
		Name: "Team (user)", AuthType: broker.AuthOAuth2, Provider: "acme", Config: map[string]any{"accessToken": "mine"}, Metadata: planted,
	})
	trap, err := b.UpdateCredential(t.Context(), self, string(trap.ID), broker.CredentialPatch{Metadata: planted})
	if err != nil {
		t.Fatalf("UpdateCredential: %v", err)
	}
	if with, is := trap.Metadata["connectedWith"]; is || trap.Metadata["team"] != "a" {
		t.Errorf("metadata.connectedWith = %v by a caller's word, want none and the rest", with)
	}

	withUser(p)
	finish(t, b, start(t, b, broker.StartRequest{ExistingCredentialID: string(first.ID)}))
	if got := accessTokenOf(t, b, trap.ID); got != "mine" {
		t.Errorf("the planted credential holds %q, want its own token", got)
	}
	var made broker.View
	all, _, err := b.Credentials(t.Context(), self, broker.Filter{Name: "Team (user)"})
	for _, c := range all {
		if c.ID != trap.ID {
			made = c
		}
	}
	if err != nil || len(all) != 2 || made.Metadata["connectedWith"] != string(first.ID) {
		t.Fatalf("Credentials = %d, %v with %v, want one more, connected with %s", len(all), err, made.Metadata, first.ID)
	}
	// Nobody takes the mark away either: the next token would go elsewhere.
	kept, err := b.UpdateCredential(t.Context(), self, string(made.ID), broker.CredentialPatch{Metadata: map[string]any{"connectedWith": "x"}})
	if err != nil || kept.Metadata["connectedWith"] != string(first.ID) {
		t.Errorf("UpdateCredential = %v, %v, want metadata.connectedWith as it was", kept.Metadata, err)
	}
}

// TestPolicyOnOthers: a further token is kept where the policy lets who connected
// have it, and within the workspace and the metadata of the first.
func TestPolicyOnOthers(t *testing.T) {
	p := &provider{}
	b, _ := newBroker(t, p)
	withUser(p)
	first := create(t, b, broker.NewCredential{
		Name: "Team", AuthType: broker.AuthOAuth2, Provider: "acme", WorkspaceID: "w", Metadata: map[string]any{"team": "a"},
		Config: map[string]any{"accessToken": "at0", "clientId": "id"},
	})
	reconnect := func(on broker.On) {
		t.Helper()
		b.Policy.Use("f", []broker.Rule{allow(on, "connect")}, time.Now())
		started, err := b.StartAuthorization(t.Context(), runner, broker.StartRequest{ExistingCredentialID: string(first.ID)})
		if err != nil {
			t.Fatalf("StartAuthorization: %v", err)
		}
		finish(t, b, started)
	}
	users := func() []broker.View {
		t.Helper()
		all, _, err := b.Credentials(t.Context(), self, broker.Filter{Name: "Team (user)"})
		if err != nil {
			t.Fatalf("Credentials: %v", err)
		}
		return all
	}

	reconnect(named("Team"))
	if got := users(); len(got) != 0 {
		t.Errorf("%d further credentials under a name that is not the caller's to connect, want none", len(got))
	}
	reconnect(broker.On{Workspaces: []string{"w"}, Metadata: map[string][]string{"team": {"a"}}})
	made := users()
	if len(made) != 1 || made[0].WorkspaceID != "w" || made[0].Metadata["team"] != "a" {
		t.Fatalf("further credentials = %+v, want one where the first is", made)
	}

	// It was moved out of the caller's reach, so no token of the caller's gets in.
	elsewhere := "theirs"
	if _, err := b.UpdateCredential(t.Context(), self, string(made[0].ID), broker.CredentialPatch{WorkspaceID: &elsewhere}); err != nil {
		t.Fatalf("UpdateCredential: %v", err)
	}
	p.answer.Others["user"] = broker.TokenResponse{AccessToken: broker.NewSecret("at-foreign")}
	reconnect(broker.On{Workspaces: []string{"w"}})
	if got := accessTokenOf(t, b, made[0].ID); got != "at-user" {
		t.Errorf("the credential that was moved away holds %q, want the token that it had", got)
	}
}
