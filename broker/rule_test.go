package broker_test

import (
	"testing"

	"github.com/invectd/invectd/broker"
)

func TestPattern(t *testing.T) {
	for _, test := range []struct {
		pattern, text string
		want          bool
	}{
		{"Work mail", "Work mail", true},
		{"Work mail", "Work mail 2", false},
		{"Work *", "Work a/b", true},
		{"Work *", "Work", false},
		{"*", "", true},
		{"*/job-*", "/kubepods/pod/job-7", true},
		{"/a/*/c", "/a/b/b/c", true},
		{"/a/*/c", "/a/c", false},
		{"a?c", "a/c", true},
		{"a?c", "ac", false},
		{"ci-[0-9].service", "ci-7.service", true},
		{"ci-[0-9].service", "ci-x.service", false},
		{`what\?`, "what?", true},
		{`what\?`, "whatx", false},
		{"[^a]b", "/b", true},
		{"ünï*", "ünïcode", true},
	} {
		pattern, err := broker.ParsePattern(test.pattern)
		if err != nil {
			t.Errorf("ParsePattern(%q) = %v", test.pattern, err)
		}
		if got := pattern.Match(test.text); got != test.want {
			t.Errorf("%q matches %q = %v, want %v", test.pattern, test.text, got, test.want)
		}
	}
	for _, malformed := range []string{"[a", `a\`, "[]a]", "x*[a"} {
		if _, err := broker.ParsePattern(malformed); err == nil {
			t.Errorf("ParsePattern(%q) = nil, want an error", malformed)
		}
	}
}
