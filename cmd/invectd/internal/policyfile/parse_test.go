package policyfile

import (
	"os/user"
	"reflect"
	"strings"
	"testing"

	"github.com/invectd/invectd/broker"
)

// names are the users and groups of a made-up machine.
var names = Names{
	User: func(name string) (string, error) {
		if name == "runner" {
			return "1001", nil
		}
		return "", user.UnknownUserError(name)
	},
	Group: func(name string) (string, error) {
		if name == "ci" {
			return "50", nil
		}
		return "", user.UnknownGroupError(name)
	},
}

func TestParse(t *testing.T) {
	rules, err := Parse("p.yaml", []byte(`
rules:
  - name: mail
    effect: allow                 # or deny, which wins
    who: {users: [runner], groups: [ci], uids: [7, "8"], units: ["ci-*.service"], cgroups: [/kubepods/*], grants: [job]}
    may: [token, resolve, header, rejected]
    on: {ids: [abc], names: ["Work *"], providers: [google], workspaces: [w], metadata: {team: [a, b], level: 7, none: []}}
  - effect: deny
    who: {users: [], groups: }
    on:
  - {name: all, may: ["*"]}
`), names)
	if err != nil {
		t.Fatal(err)
	}
	reads, _ := broker.ParseVerbs("token", "resolve", "header", "rejected")
	want := []broker.Rule{
		{
			Name: "mail", May: reads,
			Who: broker.Who{
				Users: []broker.Principal{{Name: "runner", ID: 1001}}, Groups: []broker.Principal{{Name: "ci", ID: 50}}, UIDs: []uint32{7, 8},
				Units: []broker.Pattern{"ci-*.service"}, Cgroups: []broker.Pattern{"/kubepods/*"}, Grants: []string{"job"},
			},
			On: broker.On{
				IDs: []broker.ID{"abc"}, Names: []broker.Pattern{"Work *"}, Providers: []string{"google"}, Workspaces: []string{"w"},
				Metadata: map[string][]string{"team": {"a", "b"}, "level": {"7"}},
			},
		},
		{Name: "rule 2", Deny: true, May: broker.AllVerbs},
		{Name: "all", May: broker.AllVerbs},
	}
	if !reflect.DeepEqual(rules, want) {
		t.Errorf("Parse = %+v, want %+v", rules, want)
	}
	if rules, err := Parse("p.yaml", []byte("rules: []"), names); err != nil || len(rules) != 0 {
		t.Errorf("Parse(no rules) = %v, %v, want none", rules, err)
	}
}

// TestParseErrors: whatever is not understood is an error that says where.
func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "p.yaml:1: has no rules",
		"# nothing":                          "p.yaml:1: has no rules",
		"rules:":                             "p.yaml:1: has no rules",
		"[]":                                 "p.yaml:1: the policy: write keys",
		"rules: {}":                          "p.yaml:1: rules: write a list",
		"rules: []\nrule: []":                `p.yaml:2: there is no key "rule" in the policy; the keys are rules`,
		"rules: []\nrules: []":               "a second time",
		"rules: []\n---\nx: 1":               "second document",
		"rules: [\n":                         "p.yaml:",
		"rules: [mail]":                      "a rule: write keys",
		"rules: [{nmae: x}]":                 `there is no key "nmae" in a rule; the keys are effect, may, name, on, who`,
		"rules: [{effect: Deny}]":            "effect: write allow or deny",
		"rules: [{name: root}]":              `"root" has a meaning of its own`,
		"rules: [{name: grant x}]":           `"grant x" has a meaning of its own`,
		"rules: [{name: ''}]":                "1 to 100 characters",
		"rules:\n - {name: a}\n - {name: a}": `p.yaml:3: another rule is named "a"`,
		"rules: [{may: [steal]}]":            `there is no verb "steal"; the verbs are token,`,
		"rules: [{may: token}]":              "may: write a list",
		"rules:\n - who:\n     users:\n      - nobody-here": `p.yaml:4: users: this machine has no user "nobody-here": create it, mend the name, or give its number under uids`,
		"rules: [{who: {groups: [none]}}]":                  `groups: this machine has no group "none"`,
		"rules: [{who: {users: runner}}]":                   "users: write a list",
		"rules: [{who: {users: ['']}}]":                     "users: one of the list is empty",
		"rules: [{who: {users: [null]}}]":                   "users: one of the list is empty",
		"rules: [{who: {uids: [-1]}}]":                      `uids: "-1" is no id`,
		"rules: [{who: {uids: [4294967295]}}]":              `uids: "4294967295" is no id`,
		"rules: [{who: {uids: [runner]}}]":                  `uids: "runner" is no id`,
		"rules: [{who: {user: [runner]}}]":                  `there is no key "user" in who`,
		"rules: [{on: {names: ['[a']}}]":                    `names: "[a" is no pattern`,
		"rules: [{on: {metadata: [a]}}]":                    "metadata: write keys",
		"rules: [{on: {metadata: {a: {b: c}}}}]":            "metadata.a: write a list",
		"rules: [{on: {names: [{a: b}]}}]":                  "names: write one text",
		"rules: [{on: {names: [&x a, *x]}}]":                "names: write the value out",
		"rules: [{on: {names: [!!binary aGk=]}}]":           "names: write the value without a tag",
		"a: &a {rules: []}\n<<: *a":                         "p.yaml:",
		"rules: []\n" + strings.Repeat("#\n", 1<<19):        "larger than",
	} {
		rules, err := Parse("p.yaml", []byte(text), names)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "p.yaml:") || rules != nil {
			t.Errorf("Parse(%.60q) = %v, %v, want an error with %q", text, rules, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("Parse(%.60q) = %q, want one line", text, err)
		}
	}
}

// FuzzParse: whatever comes, the answer is rules or an error in one line, and no
// list that was given ends up empty, which would match all.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"rules: []", "rules: [{name: a, effect: deny, who: {users: [runner], uids: [1]}, may: ['*'], on: {names: [x*], metadata: {a: [b]}}}]",
		"rules:\n- who:\n    groups: [ci]\n", "a: &a [*a]", "rules: [{<<: {name: x}}]", "%YAML 1.2\n---\nrules: []\n...\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rules, err := Parse("p", data, names)
		if err != nil {
			if rules != nil {
				t.Errorf("Parse = %v beside %v", rules, err)
			}
			return
		}
		for _, r := range rules {
			if r.Name == "" || r.May == 0 {
				t.Errorf("Parse = %+v, want a name and verbs", r)
			}
			for _, pattern := range append(r.On.Names, append(r.Who.Units, r.Who.Cgroups...)...) {
				if _, err := broker.ParsePattern(string(pattern)); err != nil || pattern == "" {
					t.Errorf("Parse lets %q through: %v", pattern, err)
				}
			}
		}
	})
}
