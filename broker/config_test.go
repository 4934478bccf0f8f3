package broker_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/invectd/invectd/broker"
)

func object(t *testing.T, text string) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return out
}

func TestConfigMasked(t *testing.T) {
	const (
		stored = `{"apiKey":"k","clientId":"id","scope":"a b","username":"u","password":"p","empty":"","n":7,
			"headers":{"X-Key":"h"},"inputs":{"tenant":"t"},"captured":{"team":"x"},"deep":[{"a":"s"},"s"],"accessKeyId":"A"}`
		want = `{"apiKey":"••••••••","clientId":"id","scope":"a b","username":"u","password":"••••••••","empty":"","n":7,
			"headers":{"X-Key":"••••••••"},"inputs":{"tenant":"t"},"captured":{"team":"x"},
			"deep":[{"a":"••••••••"},"••••••••"],"accessKeyId":"••••••••"}`
	)
	config := broker.NewConfig(object(t, stored))
	if got := config.Masked(); !reflect.DeepEqual(got, object(t, want)) {
		t.Errorf("Masked() = %v, want %s", got, want)
	}
	if got := config.Reveal(); !reflect.DeepEqual(got, object(t, stored)) {
		t.Errorf("Masked changed the config to %v", got)
	}
}

func TestConfigMerge(t *testing.T) {
	const stored = `{"apiKey":"k","location":"header","headers":{"A":"1","B":"2"}}`
	for _, test := range []struct{ name, patch, want string }{
		{"nothing", `{}`, stored},
		{"null removes", `{"apiKey":null}`, `{"location":"header","headers":{"A":"1","B":"2"}}`},
		{"mask keeps", `{"apiKey":"••••••••"}`, stored},
		{"empty keeps a secret", `{"apiKey":""}`, stored},
		{"empty clears what is shown", `{"location":""}`, `{"apiKey":"k","location":"","headers":{"A":"1","B":"2"}}`},
		{"new value", `{"apiKey":"z"}`, `{"apiKey":"z","location":"header","headers":{"A":"1","B":"2"}}`},
		{"mask of nothing stored", `{"token":"••••••••"}`, stored},
		{"object replaces but for its masks", `{"headers":{"B":"••••••••","C":"3"}}`, `{"apiKey":"k","location":"header","headers":{"B":"2","C":"3"}}`},
		{"mask under a new name", `{"headers":{"D":"••••••••"}}`, `{"apiKey":"k","location":"header","headers":{}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := broker.NewConfig(object(t, stored))
			if got := config.Merge(object(t, test.patch)).Reveal(); !reflect.DeepEqual(got, object(t, test.want)) {
				t.Errorf("Merge(%s) = %v, want %s", test.patch, got, test.want)
			}
			if got := config.Reveal(); !reflect.DeepEqual(got, object(t, stored)) {
				t.Errorf("Merge changed its receiver to %v", got)
			}
		})
	}
}

// TestConfigIsItsOwn shows that nobody can change a config from outside.
func TestConfigIsItsOwn(t *testing.T) {
	given := object(t, `{"headers":{"A":"1"}}`)
	config := broker.NewConfig(given)
	given["headers"].(map[string]any)["A"] = "changed"
	config.Reveal()["headers"].(map[string]any)["A"] = "changed"
	if got := config.Texts("headers")["A"]; got != "1" {
		t.Errorf("headers.A = %q, want 1", got)
	}
}
