package broker_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
)

// A choice is a list of patterns by what they are about; one that is empty or
// absent matches all.
type choice map[string][]string

// A modelRule is a rule as an operator thinks of it.
type modelRule struct {
	name    string
	deny    bool
	who, on choice
	may     []string
}

// facts are what is known of a caller or a credential, by the same names.
type facts map[string][]string

// unknown is what is not known, be it that it is not there.
const unknown = "unknown"

// fits is the reference: every list that is there has one pattern that one of
// the facts matches. What is unknown fits if ifUnknown says so.
func (c choice) fits(f facts, ifUnknown bool) bool {
	for about, patterns := range c {
		if len(patterns) > 0 && slices.Equal(f[about], []string{unknown}) {
			if !ifUnknown {
				return false
			}
			continue
		}
		found := len(patterns) == 0
		for _, pattern := range patterns {
			found = found || slices.ContainsFunc(f[about], globOf(pattern).MatchString)
		}
		if !found {
			return false
		}
	}
	return true
}

// globOf is another way to match a pattern than the broker's.
func globOf(pattern string) *regexp.Regexp {
	if known, ok := globs[pattern]; ok {
		return known
	}
	text := regexp.QuoteMeta(pattern)
	text = strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(text)
	globs[pattern] = regexp.MustCompile("(?s)^(?:" + text + ")$")
	return globs[pattern]
}

var globs = map[string]*regexp.Regexp{}

// model says how a request ends: "allowed", "denied" or "hidden".
func model(rules []modelRule, caller facts, special bool, verb string, credential facts) string {
	if special {
		return "allowed"
	}
	can := func(verb string) bool {
		may := false
		for _, r := range rules {
			if !r.who.fits(caller, r.deny) || !slices.Contains(r.may, verb) && !slices.Contains(r.may, "*") {
				continue
			}
			if verb == "admin" { // names no credential
				for _, patterns := range r.on {
					if len(patterns) > 0 {
						goto next
					}
				}
			} else if !r.on.fits(credential, false) {
				continue
			}
			if r.deny {
				return false
			}
			may = true
		next:
		}
		return may
	}
	switch {
	case can(verb):
		return "allowed"
	case verb == "admin", slices.ContainsFunc(allVerbs, can):
		return "denied"
	}
	return "hidden"
}

var allVerbs = []string{"token", "resolve", "header", "rejected", "list", "read", "write", "connect", "refresh", "admin"}

// rule turns a rule of the model into one of the broker.
func (r modelRule) rule() broker.Rule {
	may, err := broker.ParseVerbs(r.may...)
	if err != nil {
		panic(err)
	}
	return broker.Rule{
		Name: r.name, Deny: r.deny, May: may,
		Who: broker.Who{
			Users: principals(r.who["user"]), Groups: principals(r.who["group"]), UIDs: numbers(r.who["uid"]),
			Units: patterns(r.who["unit"]), Cgroups: patterns(r.who["cgroup"]), Grants: r.who["grant"],
		},
		On: broker.On{
			IDs: as[broker.ID](r.on["id"]), Names: patterns(r.on["name"]), Providers: r.on["provider"], Workspaces: r.on["workspace"],
			Metadata: labelled("team", r.on["team"]),
		},
	}
}

func as[T ~string](texts []string) (out []T) {
	for _, text := range texts {
		out = append(out, T(text))
	}
	return out
}

func patterns(texts []string) []broker.Pattern { return as[broker.Pattern](texts) }

func numbers(texts []string) (out []uint32) {
	for _, text := range texts {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			panic(err)
		}
		out = append(out, uint32(n))
	}
	return out
}

func principals(texts []string) (out []broker.Principal) {
	for _, n := range numbers(texts) {
		out = append(out, broker.Principal{Name: "n" + fmt.Sprint(n), ID: n})
	}
	return out
}

func labelled(key string, values []string) map[string][]string {
	if len(values) == 0 {
		return nil
	}
	return map[string][]string{key: values}
}

// An identity is a caller as the broker and as the model see it.
type identity struct {
	caller  broker.Caller
	facts   facts
	special bool
	rules   []modelRule // of its grant
}

func identities() []identity {
	attested := func(uid, gid uint32, groups []uint32, unit, cgroup string) identity {
		f := facts{"user": {fmt.Sprint(uid)}, "uid": {fmt.Sprint(uid)}, "group": {fmt.Sprint(gid)}}
		for _, group := range groups {
			f["group"] = append(f["group"], fmt.Sprint(group))
		}
		if unit != "" {
			f["unit"] = []string{unit}
		}
		f["cgroup"] = []string{cgroup}
		if cgroup == "" {
			f["cgroup"], f["unit"] = []string{unknown}, []string{unknown}
		}
		return identity{caller: broker.Caller{UID: uid, GID: gid, Groups: groups, PID: 7, Unit: unit, Cgroup: cgroup, Attested: true}, facts: f}
	}
	nobody := identity{caller: broker.Caller{UID: 1001, Unattested: "it has ended"}, facts: facts{
		"user": {unknown}, "uid": {unknown}, "group": {unknown}, "unit": {unknown}, "cgroup": {unknown},
	}}
	with := func(i identity, name string, runner bool, rule modelRule) identity {
		grant := broker.NewGrant(name, rule.rule().Who, rule.rule().May, rule.rule().On, time.Now().Add(time.Hour))
		i.caller.Runner, i.caller.Grant = runner, &grant
		held := facts{"grant": {name, string(grant.ID)}}
		for about, values := range i.facts {
			held[about] = values
		}
		i.facts, i.rules = held, []modelRule{rule}
		return i
	}
	onRunner := func(i identity) identity {
		i.caller.Runner = true
		return i
	}
	root, self := attested(0, 0, nil, "", "/"), attested(self.UID, 1000, nil, "invectd.service", "/system.slice/invectd.service")
	runner := attested(1001, 1001, []uint32{50, 60}, "ci.service", "/system.slice/ci.service/job-7")
	other := attested(1002, 50, nil, "", "/kubepods/pod-1/c")
	veiled := attested(1002, 60, nil, "", "")
	special := func(i identity) identity {
		i.special = true
		return i
	}
	return []identity{
		special(root), special(self), onRunner(root), onRunner(self), runner, onRunner(runner), other, onRunner(other), veiled, nobody, onRunner(nobody),
		with(nobody, "job", true, modelRule{may: []string{"token"}, on: choice{"name": {"Work*"}}}),
		with(runner, "job", true, modelRule{may: []string{"*"}, who: choice{"uid": {"1001"}}, on: choice{"provider": {"acme"}}}),
		with(other, "night", false, modelRule{may: []string{"read", "write"}, who: choice{"uid": {"1001"}}}),
		with(nobody, "night", false, modelRule{may: []string{"read"}, who: choice{"cgroup": {"*"}}}),
		with(other, "none", false, modelRule{may: []string{}}),
	}
}

func randomChoice(r *rand.Rand, pools choice) choice {
	out := choice{}
	for _, about := range slices.Sorted(keysOf(pools)) {
		if r.IntN(4) == 0 {
			for range 1 + r.IntN(2) {
				out[about] = append(out[about], pools[about][r.IntN(len(pools[about]))])
			}
		}
	}
	return out
}

func keysOf(c choice) func(func(string) bool) {
	return func(yield func(string) bool) {
		for key := range c {
			if !yield(key) {
				return
			}
		}
	}
}

func randomRules(r *rand.Rand, ids []string) []modelRule {
	who := choice{
		"user": {"0", "1000", "1001", "1002"}, "uid": {"1001", "1002", "4"}, "group": {"0", "50", "60", "1001"},
		"unit": {"ci.service", "*.service", "ci.?ervice", "x"}, "cgroup": {"/system.slice/*", "/kube*", "/", "*job-?"}, "grant": {"job", "night", "g"},
	}
	on := choice{
		"id": ids, "name": {"Work*", "*mail", "Work/?", "Home"}, "provider": {"acme", "other"}, "workspace": {"w1", "w2"}, "team": {"a", "7", "true"},
	}
	rules := make([]modelRule, r.IntN(6))
	for i := range rules {
		rules[i] = modelRule{name: fmt.Sprint("r", i), deny: r.IntN(4) == 0, who: randomChoice(r, who), on: randomChoice(r, on)}
		for range 1 + r.IntN(4) {
			rules[i].may = append(rules[i].may, append(allVerbs, "*", "*")[r.IntN(len(allVerbs)+2)])
		}
	}
	return rules
}

// ask does what a verb is for and tells how that ended.
func ask(t *testing.T, b *broker.Broker, caller broker.Caller, verb, ref string) string {
	t.Helper()
	ctx, read := t.Context(), broker.ReadRequest{MinValidity: time.Minute, Wait: time.Second}
	var err error
	switch broker.Verb(verb) {
	case broker.VerbToken:
		_, err = b.Token(ctx, caller, ref, read)
	case broker.VerbResolve:
		_, err = b.Resolve(ctx, caller, ref, read)
	case broker.VerbHeader:
		_, err = b.Header(ctx, caller, ref, read)
	case broker.VerbRejected:
		_, err = b.Rejected(ctx, caller, ref, 1, read)
	case broker.VerbRead:
		_, err = b.Credential(ctx, caller, ref)
	case broker.VerbWrite:
		_, err = b.UpdateCredential(ctx, caller, ref, broker.CredentialPatch{Description: new("changed")})
	case broker.VerbConnect:
		_, err = b.StartAuthorization(ctx, caller, broker.StartRequest{ExistingCredentialID: ref})
	case broker.VerbRefresh:
		_, err = b.RefreshCredential(ctx, caller, ref)
	case broker.VerbAdmin:
		_, err = b.ShowPolicy(caller)
	case broker.VerbList:
		var views []broker.View
		views, _, err = b.Credentials(ctx, caller, broker.Filter{})
		if !slices.ContainsFunc(views, func(v broker.View) bool { return string(v.ID) == ref }) {
			return "hidden"
		}
	}
	switch {
	case errors.Is(err, broker.ErrNotFound):
		return "hidden"
	case errors.Is(err, broker.ErrForbidden):
		return "denied"
	}
	return "allowed" // whatever came of it
}

// TestPolicyIsTheModel asks for every verb, as everybody, with every credential,
// under random policies.
func TestPolicyIsTheModel(t *testing.T) {
	b, _ := newBroker(t, &provider{})
	credentials := map[string]facts{}
	var ids []string
	for i, n := range []broker.NewCredential{
		{Name: "Work mail", AuthType: broker.AuthOAuth2, Provider: "acme", WorkspaceID: "w1", Metadata: map[string]any{"team": "a"},
			Config: map[string]any{"accessToken": "t", "refreshToken": "r", "clientId": "c"}},
		{Name: "Work/1", AuthType: broker.AuthBearer, Provider: "other", WorkspaceID: "w2", Metadata: map[string]any{"team": 7.0}, Config: map[string]any{"token": "t"}},
		{Name: "Home", AuthType: broker.AuthAPIKey, Metadata: map[string]any{"team": true}, Config: map[string]any{"apiKey": "k"}},
		{Name: "Gmail", AuthType: broker.AuthOAuth2, Provider: "acme", Metadata: map[string]any{"team": []any{"a"}}, Config: map[string]any{"accessToken": "t"}},
	} {
		c, err := b.CreateCredential(t.Context(), self, n)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, string(c.ID))
		credentials[string(c.ID)] = facts{"id": {string(c.ID)}, "name": {n.Name}, "provider": {n.Provider}, "workspace": {n.WorkspaceID}, "team": {[]string{"a", "7", "true", ""}[i]}}
	}
	delete(credentials[ids[3]], "team") // a list is no label
	policies := 120
	if testing.Short() {
		policies = 20
	}
	ends := map[string]int{}
	for seed := range policies {
		r := rand.New(rand.NewPCG(uint64(seed), 5))
		rules := randomRules(r, ids)
		compiled := make([]broker.Rule, len(rules))
		for i, rule := range rules {
			compiled[i] = rule.rule()
		}
		b.Policy.Use("f", compiled, time.Now())
		for _, who := range identities() {
			for id, credential := range credentials {
				for _, verb := range allVerbs {
					want := model(slices.Concat(rules, who.rules), who.facts, who.special, verb, credential)
					if verb == "list" && want == "denied" {
						want = "hidden"
					}
					got := ask(t, b, who.caller, verb, id)
					if ends[got]++; got != want {
						t.Fatalf("seed %d: %v (%v) asks to %s %v: %s, want %s, by %+v", seed, who.caller, who.facts, verb, credential["name"], got, want, rules)
					}
				}
			}
		}
	}
	for _, end := range []string{"allowed", "denied", "hidden"} {
		if ends[end] < 100 {
			t.Errorf("only %d requests were %s, so little was shown: %v", ends[end], end, ends)
		}
	}
}
