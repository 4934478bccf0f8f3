package catalog

import (
	"maps"
	"slices"
	"strings"
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
		if d.Override {
			t.Errorf("%s has override, but there is nothing before it", d.ID)
		}
	}
	if !slices.IsSorted(ids) {
		t.Errorf("Definitions() has %q, want them sorted", ids)
	}
	for _, id := range append(slices.Sorted(maps.Keys(tokenEndpoints)), invect...) {
		if !slices.Contains(ids, id) {
			t.Errorf("Definitions() has no %s", id)
		}
	}
}

// invect are the providers of Invect's own list that are OAuth2, besides those
// below: all but Trello.
var invect = strings.Fields(`confluence airtable figma dropbox hubspot salesforce asana zoom discord twitter spotify shopify
	intercom zendesk box pipedrive monday clickup freshdesk quickbooks mailchimp stripe paypal sentry linkedin gitlab facebook`)

// tokenEndpoints pin where secrets go, for those that have to work.
var tokenEndpoints = map[string]struct {
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

func TestTokenEndpoints(t *testing.T) {
	definitions, err := Definitions()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range definitions {
		w, pinned := tokenEndpoints[d.ID]
		if !pinned {
			continue
		}
		if d.Description == "" || d.Icon == "" || d.DocsURL == "" || d.Identity == nil || len(d.APIHosts) == 0 || d.Experimental {
			t.Errorf("%s has no description, icon, docsUrl, identity or apiHosts, or is experimental", d.ID)
		}
		defaults := map[string]string{}
		for name, input := range d.Inputs {
			defaults[name] = input.Default
		}
		url, err := broker.ExpandURL(d.TokenURL, defaults)
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
