package catalog

import (
	"slices"
	"testing"

	"github.com/invectd/invectd/broker"
)

func TestDefinitions(t *testing.T) {
	definitions, err := Definitions()
	if err != nil {
		t.Fatalf("Definitions() = %v", err)
	}
	var ids []string
	for _, d := range definitions {
		ids = append(ids, d.ID)
		if err := d.Check(nil); err != nil {
			t.Errorf("Check(%s) = %v, want nil", d.ID, err)
		}
		if d.Description == "" || d.Icon == "" || d.Category == "" || d.DocsURL == "" || d.Identity == nil || len(d.APIHosts) == 0 || d.DefaultScopes == nil {
			t.Errorf("%s has no description, icon, category, docsUrl, identity, apiHosts or defaultScopes", d.ID)
		}
		if d.Override {
			t.Errorf("%s has override, but there is nothing before it", d.ID)
		}
	}
	if want := []string{"github", "google", "jira", "linear", "microsoft", "notion", "slack"}; !slices.Equal(ids, want) {
		t.Errorf("Definitions() has %q, want %q", ids, want)
	}
}

// TestTokenEndpoints pins where secrets go.
func TestTokenEndpoints(t *testing.T) {
	want := map[string]struct {
		url  string
		auth broker.ClientAuthentication
		pkce broker.PKCE
	}{
		"github":    {"https://github.com/login/oauth/access_token", "", broker.PKCEOptional},
		"google":    {"https://oauth2.googleapis.com/token", "", broker.PKCEOptional},
		"jira":      {"https://auth.atlassian.com/oauth/token", "", broker.PKCEOptional},
		"linear":    {"https://api.linear.app/oauth/token", "", broker.PKCEOptional},
		"microsoft": {"https://login.microsoftonline.com/common/oauth2/v2.0/token", "", broker.PKCEOptional},
		"notion":    {"https://api.notion.com/v1/oauth/token", broker.ClientSecretBasic, broker.PKCENone},
		"slack":     {"https://slack.com/api/oauth.v2.access", broker.ClientSecretBasic, broker.PKCENone},
	}
	definitions, err := Definitions()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range definitions {
		defaults := map[string]string{}
		for name, input := range d.Inputs {
			defaults[name] = input.Default
		}
		url, err := broker.ExpandURL(d.TokenURL, defaults)
		w := want[d.ID]
		if err != nil || url != w.url || d.ClientAuthentication != w.auth || d.PKCE != w.pkce {
			t.Errorf("%s asks %s by %q with PKCE %q (%v), want %s by %q with %q", d.ID, url, d.ClientAuthentication, d.PKCE, err, w.url, w.auth, w.pkce)
		}
	}
}

func TestDecodeIsStrict(t *testing.T) {
	for _, text := range []string{"", "[", `[{"id": "a", "tokenUri": "b"}]`, "[] []", "[]x", `{"id": "a"}`} {
		if got, err := decode([]byte(text)); err == nil || got != nil {
			t.Errorf("decode(%s) = %v, %v, want an error alone", text, got, err)
		}
	}
}

func BenchmarkDefinitions(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Definitions(); err != nil {
			b.Fatal(err)
		}
	}
}
