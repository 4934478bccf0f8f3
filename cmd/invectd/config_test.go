package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/invectd/invectd/broker/store"
)

// configured returns the settings that flags, environment and file make.
func configured(t testing.TB, args []string, env map[string]string, file string) (*settings, error) {
	t.Helper()
	getenv := func(name string) string { return env[name] }
	var s settings
	f := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	s.addFlags(f, getenv)
	if file != "" {
		path := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append([]string{"--config", path}, args...)
	}
	if err := f.Parse(args); err != nil {
		return &s, err
	}
	return &s, s.complete(f, getenv)
}

func TestPrecedence(t *testing.T) {
	const file = "callback: 127.0.0.1:3\nmetrics: 127.0.0.1:3\nallow-addresses: [10.0.0.0/8, 127.0.0.0/8]\nsocket-mode: \"0660\"\n"
	env := map[string]string{"INVECT_CALLBACK": "127.0.0.1:2", "INVECT_METRICS": "127.0.0.1:2", "XDG_STATE_HOME": "/state"}
	s, err := configured(t, []string{"--callback", "127.0.0.1:1"}, env, file)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ what, got, want string }{
		{"a flag wins over all", s.callback, "127.0.0.1:1"},
		{"the environment wins over the file", s.metrics, "127.0.0.1:2"},
		{"the file wins over the default", s.socketMode, "0660"},
		{"a list of the file", strings.Join(s.allowAddresses, " "), "10.0.0.0/8 127.0.0.0/8"},
		{"a default from the environment", s.dataDir, "/state/invectd"},
	} {
		if test.got != test.want {
			t.Errorf("%s: %q, want %q", test.what, test.got, test.want)
		}
	}
}

func TestBadConfigFile(t *testing.T) {
	for name, test := range map[string]struct{ file, want string }{
		"unknown key":   {"socket: /s\nsockett: /s\n", "line 2"},
		"nested":        {"socket: {path: /s}\n", "socket"},
		"no YAML":       {"socket: [\n", "configuration"},
		"itself":        {"config: other.yaml\n", "config"},
		"key twice":     {"socket: /a\nsocket: /b\n", "line 2"},
		"not a mapping": {"- socket\n", "configuration"},
	} {
		if _, err := configured(t, nil, nil, test.file); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want an error that says %q", name, err, test.want)
		}
	}
}

// FuzzConfigFile: a file is taken whole or refused with one line, and what is
// taken is what its keys say.
func FuzzConfigFile(f *testing.F) {
	for _, seed := range []string{
		"", "socket: /s", "return-origins: [https://a.example]", "allow-addresses: 10.0.0.0/8", "a: b", "socket: {}", "- x",
		"socket: !!binary AAAA", "socket: &a /s\nmetrics: *a", "socket: |\n  x\n", "\x00", "socket: [1, [2]]",
	} {
		f.Add(seed)
	}
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	new(settings).addFlags(flags, func(string) string { return "" })
	f.Fuzz(func(t *testing.T, text string) {
		values, err := parseConfigFile("config.yaml", []byte(text), flags)
		if err != nil {
			if values != nil {
				t.Fatalf("%q gave both an error and %v", text, values)
			}
			return
		}
		for key := range values {
			if flags.Lookup(key) == nil {
				t.Fatalf("%q gave the key %q, which is no flag", text, key)
			}
		}
	})
}

// TestLimits: the limits of each user can be given like all else, and are numbers
// from 1.
func TestLimits(t *testing.T) {
	for _, test := range []struct {
		args []string
		env  map[string]string
		want [2]int // connections, in flight; zero where they are refused
	}{
		{nil, nil, [2]int{4096, 512}},
		{[]string{"--max-conns-per-uid", "7"}, map[string]string{"INVECT_MAX_INFLIGHT_PER_UID": "3"}, [2]int{7, 3}},
		{[]string{"--max-conns-per-uid", "0"}, nil, [2]int{}},
		{[]string{"--max-inflight-per-uid", "-1"}, nil, [2]int{}},
	} {
		s, err := configured(t, test.args, test.env, "")
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.daemonConfig(store.Key{})
		if got := [2]int{c.Limits.Connections, c.Limits.InFlight}; got != test.want || (err != nil) != (test.want == [2]int{}) {
			t.Errorf("%v %v = %v, %v, want %v", test.args, test.env, got, err, test.want)
		}
	}
}
