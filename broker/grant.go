package broker

import "time"

// A Grant is a capability: whoever presents it may do what its rule says, on
// either socket, besides what the policy gives them. What the policy denies
// stays denied.
type Grant struct {
	ID        ID
	Name      string
	Rule      Rule // its Name is "grant " and that of the grant
	ExpiresAt time.Time
}

// NewGrant returns a grant of a new id. It is bound to who, if that is not empty.
func NewGrant(name string, who Who, may Verbs, on On, expiresAt time.Time) Grant {
	return Grant{ID: NewID(), Name: name, ExpiresAt: expiresAt, Rule: Rule{Name: ruleGrant + name, Who: who, May: may, On: on}}
}
