package socket

import (
	"cmp"
	"net/http"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

// noGroup is a group that nobody is in: the kernel takes it for none.
const noGroup = 1<<32 - 1

func (s *Server) showPolicy(w http.ResponseWriter, r *http.Request) error {
	state, err := s.Broker.ShowPolicy(callerOf(r.Context()))
	if err != nil {
		return err
	}
	out := client.Policy{
		File: orNull(state.File), LoadedAt: timeOrNull(state.LoadedAt), Fault: orNull(state.Fault),
		Rules: make([]client.PolicyRule, 0, len(state.Rules)),
	}
	for _, rule := range state.Rules {
		out.Rules = append(out.Rules, policyRule(rule))
	}
	return answer(w, http.StatusOK, out)
}

func policyRule(r broker.Rule) client.PolicyRule {
	out := client.PolicyRule{
		Name: r.Name, Effect: "allow", May: r.May.Names(),
		Who: client.PolicyWho{
			Users: namesOf(r.Who.Users), Groups: namesOf(r.Who.Groups), UIDs: r.Who.UIDs,
			Units: stringsOf(r.Who.Units), Cgroups: stringsOf(r.Who.Cgroups), Grants: r.Who.Grants,
		},
		On: client.PolicyOn{
			IDs: stringsOf(r.On.IDs), Names: stringsOf(r.On.Names), Providers: r.On.Providers,
			Workspaces: r.On.Workspaces, Metadata: r.On.Metadata,
		},
	}
	if r.Deny {
		out.Effect = "deny"
	}
	return out
}

func namesOf(list []broker.Principal) []string {
	var names []string
	for _, p := range list {
		names = append(names, p.Name)
	}
	return names
}

func stringsOf[T ~string](list []T) []string {
	var texts []string
	for _, text := range list {
		texts = append(texts, string(text))
	}
	return texts
}

func (s *Server) testPolicy(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		client.PolicyQuestion
		UserID ignored `json:"userId"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	if body.Credential != "" && body.Supposed != nil {
		return invalidRequest("supposed", "cannot be given together with credential")
	}
	decision, err := s.Broker.TestPolicy(r.Context(), callerOf(r.Context()), broker.PolicyQuestion{
		Caller: supposedCaller(body.PolicyQuestion), Verb: broker.Verb(body.Verb),
		Ref: body.Credential, On: supposedSubject(body.Supposed),
	})
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, policyDecision(decision))
}

func policyDecision(d broker.Decision) client.PolicyDecision {
	return client.PolicyDecision{Allowed: d.Allowed, Rule: d.Rule, Visible: d.Visible(), Verbs: d.Held.Names()}
}

// DecideBy answers a question by a policy that no daemon has in force. It cannot
// be about a credential that there is.
func DecideBy(policy *broker.Policy, q client.PolicyQuestion) client.PolicyDecision {
	return policyDecision(policy.Decide(supposedCaller(q), broker.Verb(q.Verb), supposedSubject(q.Supposed)))
}

// supposedSubject is nil where nothing is supposed.
func supposedSubject(c *client.PolicySubject) *broker.Subject {
	if c == nil {
		return nil
	}
	return &broker.Subject{
		ID: broker.ID(c.ID), Name: c.Name, Provider: c.Provider, WorkspaceID: c.WorkspaceID, Labels: broker.Labels(c.Metadata),
	}
}

func supposedCaller(q client.PolicyQuestion) broker.Caller {
	caller := broker.Caller{GID: noGroup, Groups: q.Groups, Unit: q.Unit, Cgroup: cmp.Or(q.Cgroup, "/"+q.Unit), Runner: q.Runner}
	if q.UID != nil {
		caller.UID, caller.Attested = *q.UID, true
	}
	if q.GID != nil {
		caller.GID = *q.GID
	}
	if q.Grant != "" {
		caller.Grant = &broker.Grant{Name: q.Grant}
	}
	return caller
}
