package broker_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/invectd/invectd/broker"
)

func TestExpandURL(t *testing.T) {
	tests := []struct{ template, value, want string }{ // want "" is an error
		{"https://a.example/token", "", "https://a.example/token"},
		{"https://a.example/{x}/token", "common", "https://a.example/common/token"},
		{"https://a.example/{x}/token", "a/b?c#d", "https://a.example/a%2Fb%3Fc%23d/token"},
		{"https://a.example/{x}", "%2e", "https://a.example/%252e"},
		{"https://a.example/{x}", "", "https://a.example/"},
		{"https://a.example/?q={x}", "a b&c=d#e", "https://a.example/?q=a+b%26c%3Dd%23e"},
		{"https://a.example/?q={x}", "../..", "https://a.example/?q=..%2F.."},
		{"https://a.example/{x}?q={x}", "a+b", "https://a.example/a+b?q=a%2Bb"},
		{"https://a.example?q={x}", "{x}", "https://a.example?q=%7Bx%7D"},
		{"https://{x}.a.example/", "eu-1", "https://eu-1.a.example/"},
		{"https://{x}/token", "b.example", "https://b.example/token"},

		{"https://{x}.a.example/", "", ""},
		{"https://{x}.a.example/", "evil.example/", ""},
		{"https://{x}.a.example/", "evil.example#", ""},
		{"https://{x}.a.example/", "evil.example?", ""},
		{"https://{x}.a.example/", `evil.example\`, ""},
		{"https://{x}.a.example/", "evil.example:443", ""},
		{"https://{x}.a.example/", "user@evil.example", ""},
		{"https://{x}.a.example/", "evil.example%2f", ""},
		{"https://{x}.a.example/", "evil.example／", ""},
		{"https://{x}.a.example/", "é", ""},
		{"https://{x}.a.example/", "a\r\nb", ""},
		{"https://{x}.a.example/", "{x}", ""},
		{"https://[{x}]/", "1", ""},
		{"https://a.example/{x}/token", "..", ""},
		{"https://a.example/{x}/token", ".", ""},
		{"https://a.example/{x}{x}/token", ".", ""},
		{"https://a.example/{x}/token", "a/../b", ""},
		{"https://a.example/{missing}", "", ""},
		{"https://{missing}/", "", ""},
		{"a.example/{x}", "a", ""},
	}
	for _, test := range tests {
		got, err := broker.ExpandURL(test.template, map[string]string{"x": test.value})
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("ExpandURL(%q, x: %q) = %q, %v, want %q", test.template, test.value, got, err, test.want)
		}
	}
}

func TestExpand(t *testing.T) {
	inputs := map[string]string{"x": "{y}", "y": "1"}
	tests := []struct{ template, want string }{
		{"", ""},
		{"a {x} {y}", "a {y} 1"}, // what is put in is not looked at again
		{"{z}", "{z}"},
		{`{"query":"{ viewer { id } }"}`, `{"query":"{ viewer { id } }"}`},
	}
	for _, test := range tests {
		if got := broker.Expand(test.template, inputs); got != test.want {
			t.Errorf("Expand(%q) = %q, want %q", test.template, got, test.want)
		}
	}
}

// FuzzExpandURL makes sure that no input moves a request to another host than
// the template names, or to another path than one below it.
func FuzzExpandURL(f *testing.F) {
	for _, seed := range []string{"common", "..", "a/../../b", "evil.example/", "@evil.example", "a.b:80", "%2e%2e", "\\", "#", "é", "xn--a", "\r\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		inputs := map[string]string{"x": value}
		got, err := broker.ExpandURL("https://{x}.a.example/base/{x}/token?q={x}", inputs)
		if err != nil {
			if got != "" {
				t.Errorf("ExpandURL(%q) = %q with error %v, want no URL", value, got, err)
			}
			return
		}
		u, err := url.Parse(got)
		if err != nil {
			t.Fatalf("ExpandURL(%q) = %q: %v", value, got, err)
		}
		if u.Scheme != "https" || u.User != nil || u.Port() != "" || !strings.HasSuffix(u.Host, ".a.example") {
			t.Errorf("ExpandURL(%q) = %q, which leaves the host", value, got)
		}
		if !strings.HasPrefix(u.Path, "/base/") || !strings.HasSuffix(u.Path, "/token") || u.Query().Get("q") != value {
			t.Errorf("ExpandURL(%q) = %q, which leaves the path or changes the query", value, got)
		}
	})
}
