package host

import (
	"slices"
	"testing"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/plugins/protocol"
)

// FuzzReadOffer: whatever a plugin answers, what is taken of it has hooks that there
// are and says no override.
func FuzzReadOffer(f *testing.F) {
	f.Add([]byte(`{"id":"a","name":"A","tokenUrl":"https://a.example/t","authorizationUrl":"https://a.example/a"}`), "token_request")
	f.Add([]byte(`{"id":"a","name":"A","override":true}`), "callback")
	f.Add([]byte(`{"id":"a","hooks":["token_request"]}`), "")
	f.Add([]byte("id: a\nname: [\n"), "authorization_url")
	f.Fuzz(func(t *testing.T, definition []byte, hook string) {
		definitions, errs := readOffer("plugin", &protocol.DescribeResponse{
			Version: hook, Providers: []*protocol.ProviderDefinition{{Definition: definition, Hooks: []string{hook}}},
		})
		if len(definitions)+len(errs) != 1 {
			t.Fatalf("readOffer() = %d definitions and %v, want one of both", len(definitions), errs)
		}
		for _, d := range definitions {
			if d.Override || len(d.Hooks) != 1 || !slices.Contains(broker.AllHooks, d.Hooks[0]) {
				t.Errorf("readOffer() took %+v, want no override and hooks that there are", d)
			}
		}
	})
}
