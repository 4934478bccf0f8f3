package refresher_test

import (
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
	"github.com/invectd/invectd/broker/oauth"
	"github.com/invectd/invectd/refresher"
)

// TestOverHTTP refreshes with the real client at a real authorization server,
// which rotates refresh tokens and revokes the family of one that comes twice.
func TestOverHTTP(t *testing.T) {
	server := brokertest.StartAuthServer(t, brokertest.AuthConfig{})
	client := oauth.New(oauth.Config{Addresses: broker.Addresses{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}})
	t.Cleanup(client.Close)
	w := newWorld(t, func(c *refresher.Config) { c.Server = client })
	w.definitions["p"] = server.Definition("p")
	if err := w.store.PutApp(t.Context(), broker.App{ProviderID: "p", Client: server.Client()}); err != nil {
		t.Fatalf("PutApp: %v", err)
	}
	access, refresh := server.Grant("read")
	c := broker.Credential{Summary: broker.Summary{ID: "id", Name: "work", AuthType: broker.AuthOAuth2, Provider: "p", IsActive: true}}
	c.Apply(broker.TokenResponse{
		AccessToken: broker.NewSecret(access), RefreshToken: broker.NewSecret(refresh), ExpiresAt: time.Now().Add(-time.Second),
	}, time.Now().Add(-time.Hour))
	id := w.add(c)
	stop := w.start() // the schedule comes too

	var readers sync.WaitGroup
	for range 100 {
		readers.Go(func() {
			if token := w.mustRead(id, reader); !server.Live(token.Access.Reveal()) {
				t.Error("Refresh handed out a token that the server does not know")
			}
		})
	}
	readers.Wait()

	server.Fail(brokertest.Fault{Status: 503, Header: map[string]string{"Retry-After": "600"}})
	_, err := w.read(id, broker.Need{After: 2, Force: true})
	if after := wantRetry(t, err, nil); after < 9*time.Minute {
		t.Errorf("retry after %v, want ten minutes", after)
	}
	w.mustRead(id, broker.Need{After: 2, Force: true})
	w.wantGeneration(id, 3)
	stored := w.stored(id)
	if !server.Live(stored.Config.Text(broker.KeyRefreshToken)) {
		t.Error("the stored refresh token is spent")
	}

	server.RevokeGrant(stored.Config.Text(broker.KeyRefreshToken))
	if _, err := w.read(id, broker.Need{After: 3, Force: true}); !errors.Is(err, broker.ErrReauthorize) || !strings.Contains(err.Error(), "invalid_grant") {
		t.Errorf("after consent was withdrawn Refresh = %v, want ErrReauthorize for invalid_grant", err)
	}
	if err := stop(); err != nil {
		t.Errorf("Run = %v", err)
	}
	if stats := server.Stats(); stats.Refreshes != 2 || stats.Reuses != 0 {
		t.Errorf("the server counts %d refreshes and %d reuses, want 2 and 0", stats.Refreshes, stats.Reuses)
	}
}
