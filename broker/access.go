package broker

// A Subject is what a policy looks at of a credential.
type Subject struct {
	ID          ID
	Name        string
	Provider    string
	WorkspaceID string
	// Labels are the metadata that can be matched. They may be nil where
	// [Access.AsksLabels] is false.
	Labels map[string]string
}

// A Decision is what a policy says of one request.
type Decision struct {
	Allowed bool
	Rule    string // the name of the one that decided
	Held    Verbs  // all that the caller may do with the credential
}

// Visible reports whether the caller may do something with the credential, if
// not what it asks. One that is not visible does not exist for it.
func (d Decision) Visible() bool { return d.Held != 0 }

// The names of what decides where no rule of the policy does.
const (
	ruleRoot       = "root"
	ruleSelf       = "self"
	ruleDefault    = "default"
	ruleUnattested = "unattested"
	ruleGain       = "no gain by a change"
	ruleGrant      = "grant " // and its name
)

// ReservedRules are names that no rule of a policy may have, since the audit
// says them where none decided. One may not begin with "grant " either.
var ReservedRules = []string{ruleRoot, ruleSelf, ruleDefault, ruleUnattested, ruleGain}

// An Access is what the rules of one moment give to one caller.
type Access struct {
	special   string  // why the rules do not matter; "" where they do
	otherwise string  // what decides where no rule does
	rules     []*Rule // about this caller
	labels    bool
}

func (a *Access) add(r *Rule, caller *Caller) {
	// Who can hide what it is must not escape a rule that takes away.
	if r.Who.matches(caller, r.Deny) {
		a.rules = append(a.rules, r)
		a.labels = a.labels || len(r.On.Metadata) > 0
	}
}

// everything reports whether the caller may do all with everything.
func (a *Access) everything() bool { return a.special != "" }

// AsksLabels reports whether the metadata of credentials may matter.
func (a *Access) AsksLabels() bool { return a.labels }

// Decide returns whether the caller may do verb with a credential. on is nil
// where the request names none: then rules for some credentials give their verbs
// too, since what is shown or made is decided on one by one.
func (a *Access) Decide(verb Verb, on *Subject) Decision {
	if a.everything() {
		return Decision{Allowed: true, Rule: a.special, Held: AllVerbs}
	}
	var given, taken Verbs
	var allow, deny *Rule // the first to say so of the verb
	for _, r := range a.rules {
		may := r.about(on)
		switch says := may.Has(verb); {
		case r.Deny:
			taken |= may
			if says && deny == nil {
				deny = r
			}
		default:
			given |= may
			if says && allow == nil {
				allow = r
			}
		}
	}
	held := given &^ taken
	out := Decision{Allowed: held.Has(verb), Held: held, Rule: a.otherwise}
	switch {
	case deny != nil:
		out.Rule = deny.Name
	case allow != nil:
		out.Rule = allow.Name
	}
	return out
}

// about returns the verbs that the rule gives or takes for a credential, or for
// a request that names none. To administer is about all there is, so a rule for
// some credentials says nothing of it.
func (r *Rule) about(on *Subject) Verbs {
	switch {
	case r.On.all():
		return r.May
	case on == nil && !r.Deny, on != nil && r.On.matches(on):
		return r.May &^ VerbAdmin.bit()
	}
	return 0
}
