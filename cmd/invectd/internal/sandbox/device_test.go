package sandbox

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestDeviceGrant(t *testing.T) {
	s := start(t, Config{})
	cfg := s.config()
	poll := func(deviceCode string) (int, map[string]any) {
		return post(t, cfg.Endpoint.TokenURL, url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {deviceCode},
			"client_id": {s.ClientID()}, "client_secret": {s.ClientSecret()},
		}, nil)
	}
	for decision, want := range map[string]string{"allow": "", "deny": "access_denied"} {
		device, err := cfg.DeviceAuth(t.Context())
		if err != nil {
			t.Fatalf("DeviceAuth() = %v, want a user code", err)
		}
		if _, answer := poll(device.DeviceCode); answer["error"] != "authorization_pending" {
			t.Errorf("poll before the decision = %v, want authorization_pending", answer)
		}
		if status, _, body := get(t, device.VerificationURIComplete, ""); status != http.StatusOK || !strings.Contains(body, device.UserCode) {
			t.Errorf("GET %s = %d %s, want the consent form", device.VerificationURIComplete, status, body)
		}
		form := url.Values{"user_code": {" " + strings.ToLower(device.UserCode)}, "decision": {decision}}
		if status, _ := post(t, device.VerificationURI, form, nil); status != http.StatusOK {
			t.Errorf("decision %s = %d, want 200", decision, status)
		}
		if status, _ := post(t, device.VerificationURI, form, nil); status != http.StatusBadRequest {
			t.Errorf("second decision = %d, want 400", status)
		}
		status, answer := poll(device.DeviceCode)
		if want != "" {
			if answer["error"] != want {
				t.Errorf("poll after %s = %d %v, want %s", decision, status, answer, want)
			}
			continue
		}
		wantResource(t, s, answer["access_token"].(string), http.StatusOK)
		if _, err := refresh(t, cfg, answer["refresh_token"].(string)); err != nil {
			t.Errorf("refresh after the device grant = %v, want a token", err)
		}
		if status, answer := poll(device.DeviceCode); status != http.StatusBadRequest {
			t.Errorf("second use of the device code = %d %v, want 400", status, answer)
		}
	}
}
