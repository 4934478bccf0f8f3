package broker_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/invectd/invectd/broker"
)

const canary = "canary-7d1f"

// holder keeps secrets where fmt cannot call their methods.
type holder struct {
	secret broker.Secret
	config broker.Config
	nested map[string]any
	list   []broker.Secret
}

func TestSecretsDoNotPrint(t *testing.T) {
	secret := broker.NewSecret(canary)
	config := broker.NewConfig(map[string]any{"apiKey": canary, "headers": map[string]any{"X": canary}})
	h := holder{secret, config, map[string]any{"s": secret, "c": config}, []broker.Secret{secret}}
	values := map[string]any{
		"secret": secret, "config": config, "pointer": &secret, "holder": h, "holder pointer": &h,
		"token": broker.Token{Access: secret}, "credential": broker.Credential{Config: config},
		"client": broker.Client{Secret: secret}, "authorization": broker.Authorization{Verifier: secret},
	}
	for name, value := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
			noCanary(t, name+" "+verb, fmt.Sprintf(verb, value))
		}
		encoded, err := json.Marshal(value)
		if err == nil {
			noCanary(t, name+" JSON", string(encoded))
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "value", value)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "value", value)
		noCanary(t, name+" slog", log.String())
		noCanary(t, name+" error", errors.Join(fmt.Errorf("with %v", value)).Error())
	}
}

func noCanary(t *testing.T, what, text string) {
	t.Helper()
	decimal := strings.Trim(fmt.Sprint([]byte(canary)), "[]")
	for _, form := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), decimal} {
		if strings.Contains(text, form) {
			t.Errorf("%s prints the secret: %.200s", what, text)
		}
	}
}

func TestSecretEqual(t *testing.T) {
	a, b := broker.NewSecret("x"), broker.NewSecret("y")
	if !a.Equal(broker.NewSecret("x")) || a.Equal(b) || a.Equal(broker.Secret{}) {
		t.Error("Equal does not tell x from y or from nothing")
	}
	if !broker.NewSecret("").Empty() || a.Empty() {
		t.Error("Empty is wrong")
	}
}
