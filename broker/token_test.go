package broker_test

import (
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
)

func TestNeedMet(t *testing.T) {
	now := time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)
	token := func(age, left time.Duration) broker.Token {
		return broker.Token{
			Access: broker.NewSecret("x"), Generation: 7,
			IssuedAt: now.Add(-age), ExpiresAt: now.Add(left),
		}
	}
	for _, test := range []struct {
		name  string
		token broker.Token
		need  broker.Need
		want  bool
	}{
		{"long enough", token(0, time.Hour), broker.Need{Validity: time.Minute}, true},
		{"to the second", token(time.Hour, time.Minute), broker.Need{Validity: time.Minute}, true},
		{"too short", token(time.Hour, 59*time.Second), broker.Need{Validity: time.Minute}, false},
		{"a short life asks for half of it only", token(0, 20*time.Second), broker.Need{Validity: time.Minute}, true},
		{"less than half of a short life", token(15*time.Second, 5*time.Second), broker.Need{Validity: time.Minute}, false},
		{"more than its whole life asked for", token(0, time.Hour), broker.Need{Validity: 24 * time.Hour}, true},
		{"ended", token(time.Hour, 0), broker.Need{}, false},
		{"barely alive, nothing asked", token(time.Hour, time.Second), broker.Need{}, true},
		{"never ends", broker.Token{Access: broker.NewSecret("x"), Generation: 1}, broker.Need{Validity: time.Hour}, true},
		{"the rejected generation", token(0, time.Hour), broker.Need{After: 7}, false},
		{"a newer generation", token(0, time.Hour), broker.Need{After: 6}, true},
		{"no token", broker.Token{}, broker.Need{}, false},
	} {
		if got := test.need.Met(test.token, now); got != test.want {
			t.Errorf("%s: Met = %v, want %v", test.name, got, test.want)
		}
	}
}

func TestCredentialApply(t *testing.T) {
	now := time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)
	c := broker.Credential{
		Summary: broker.Summary{
			AuthType: broker.AuthOAuth2, Provider: "p", IsActive: true, Generation: 3, Status: broker.StatusDegraded,
			RetryAt: now, Intent: &broker.Intent{Generation: 3, At: now},
		},
		StatusReason: "it failed",
		Config: broker.NewConfig(map[string]any{
			"accessToken": "old", "refreshToken": "r1", "scope": "a", "captured": map[string]any{"x": "1"},
		}),
	}
	c.Apply(broker.TokenResponse{
		AccessToken: broker.NewSecret("new"), ExpiresAt: now.Add(time.Hour), Captured: map[string]any{"y": "2"},
	}, now)
	for _, test := range []struct{ what, got, want string }{
		{"access token", c.Config.Text("accessToken"), "new"},
		{"refresh token that the answer lacks", c.Config.Text("refreshToken"), "r1"},
		{"scope that the answer lacks", c.Config.Text("scope"), "a"},
		{"expiry", c.Config.Text("expiresAt"), "2026-11-23T16:00:00Z"},
		{"captured before", c.Config.Texts("captured")["x"], "1"},
		{"captured now", c.Config.Texts("captured")["y"], "2"},
		{"status", string(c.Status), "active"},
		{"reason", c.StatusReason, ""},
	} {
		if test.got != test.want {
			t.Errorf("%s = %q, want %q", test.what, test.got, test.want)
		}
	}
	if c.Generation != 4 || c.Intent != nil || !c.RetryAt.IsZero() || !c.Renewable {
		t.Errorf("generation %d, intent %v, retry at %v, renewable %v; want 4, nil, zero, true", c.Generation, c.Intent, c.RetryAt, c.Renewable)
	}
	c.Apply(broker.TokenResponse{AccessToken: broker.NewSecret("last"), RefreshToken: broker.NewSecret("r2")}, now)
	if c.Config.Text("refreshToken") != "r2" || c.Config.Text("expiresAt") != "" || !c.ExpiresAt.IsZero() {
		t.Errorf("after a rotation without expiry: %v %v, want r2 and no expiry", c.Config.Text("refreshToken"), c.ExpiresAt)
	}
}

func TestStatusAt(t *testing.T) {
	now := time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)
	past := now.Add(-time.Second)
	for _, test := range []struct {
		name string
		s    broker.Summary
		want broker.Status
	}{
		{"active", broker.Summary{IsActive: true, Status: broker.StatusActive}, broker.StatusActive},
		{"switched off wins", broker.Summary{Status: broker.StatusReauth}, broker.StatusDisabled},
		{"ended, nothing to renew with", broker.Summary{IsActive: true, Status: broker.StatusActive, ExpiresAt: past}, broker.StatusExpired},
		{"ended, renewable", broker.Summary{IsActive: true, Status: broker.StatusDegraded, ExpiresAt: past, Renewable: true}, broker.StatusDegraded},
		{"ended, still called active", broker.Summary{IsActive: true, Status: broker.StatusActive, ExpiresAt: past, Renewable: true}, broker.StatusDegraded},
		{"ends now", broker.Summary{IsActive: true, Status: broker.StatusActive, ExpiresAt: now, Renewable: true}, broker.StatusDegraded},
		{"ended, renewed when read", broker.Summary{IsActive: true, Status: broker.StatusActive, ExpiresAt: past, Renewable: true, Lazy: true}, broker.StatusActive},
		{"hindered", broker.Summary{IsActive: true, Status: broker.StatusActive, Renewable: true, Hindrance: "why"}, broker.StatusDegraded},
		{"hindered, switched off", broker.Summary{Status: broker.StatusActive, Hindrance: "why"}, broker.StatusDisabled},
		{"hindered, refused", broker.Summary{IsActive: true, Status: broker.StatusReauth, Hindrance: "why"}, broker.StatusReauth},
		{"refused stays refused", broker.Summary{IsActive: true, Status: broker.StatusReauth, ExpiresAt: past}, broker.StatusReauth},
	} {
		if got := test.s.StatusAt(now); got != test.want {
			t.Errorf("%s: StatusAt = %s, want %s", test.name, got, test.want)
		}
	}
}

// TestNeedAfterTheClockWasSetBack: a token from the clock's former future ends
// earlier than it seems, so that it meets no need and is renewed.
func TestNeedAfterTheClockWasSetBack(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for ahead, met := range map[time.Duration]bool{-time.Hour: true, 0: true, 30 * time.Second: true, 2 * time.Minute: false, 5 * time.Hour: false} {
		token := broker.Token{Access: broker.NewSecret("a"), Generation: 1, IssuedAt: now.Add(ahead), ExpiresAt: now.Add(ahead + 2*time.Hour)}
		if got := (broker.Need{Validity: time.Minute}).Met(token, now); got != met {
			t.Errorf("Met() of a token issued %v ahead = %t, want %t", ahead, got, met)
		}
	}
}
