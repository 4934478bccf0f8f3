package policyfile

import (
	"os"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
)

// TestExample: the example that operators begin with says what its comments say.
func TestExample(t *testing.T) {
	const file = "../../../../deploy/policy.example.yaml"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := Parse(file, data, Names{
		User:  func(string) (string, error) { return "1001", nil },
		Group: func(string) (string, error) { return "50", nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	policy := broker.NewPolicy(999)
	policy.Use(file, rules, time.Now())
	runner := broker.Caller{UID: 1001, GID: 1001, Runner: true, Attested: true}
	unit := broker.Caller{UID: 7, Unit: "report-nightly.service", Cgroup: "/system.slice/report-nightly.service", Attested: true}
	pod := broker.Caller{UID: 7, Cgroup: "/kubepods.slice/kubepods-pod1.slice/c", Attested: true}
	operator := broker.Caller{UID: 7, Groups: []uint32{50}, Attested: true}
	for _, test := range []struct {
		caller  broker.Caller
		verb    broker.Verb
		on      broker.Subject
		allowed bool
		rule    string
	}{
		{runner, "token", broker.Subject{Name: "Work mail"}, true, "work"},
		{runner, "list", broker.Subject{Name: "Work mail"}, false, "default"},
		{runner, "token", broker.Subject{Name: "Home"}, false, "default"},
		{runner, "token", broker.Subject{Name: "Work mail", WorkspaceID: "payroll"}, false, "payroll"},
		{unit, "token", broker.Subject{Provider: "google"}, true, "nightly report"},
		{unit, "token", broker.Subject{Provider: "github"}, false, "default"},
		{pod, "header", broker.Subject{Labels: map[string]string{"environment": "test"}}, true, "staging"},
		{pod, "header", broker.Subject{Labels: map[string]string{"environment": "live"}}, false, "default"},
		{operator, "write", broker.Subject{Name: "anything", WorkspaceID: "payroll"}, true, "operators"},
		{operator, "token", broker.Subject{Name: "anything"}, false, "default"},
		{operator, "admin", broker.Subject{}, false, "default"},
	} {
		if got := policy.Decide(test.caller, test.verb, &test.on); got.Allowed != test.allowed || got.Rule != test.rule {
			t.Errorf("Decide(%+v, %s, %+v) = %v by %q, want %v by %q", test.caller, test.verb, test.on, got.Allowed, got.Rule, test.allowed, test.rule)
		}
	}
}
