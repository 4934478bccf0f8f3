package policyfile

import (
	"errors"
	"fmt"
	"os/user"
	"strconv"
)

// Names finds users and groups of a machine by their names. The errors are those
// of os/user.
type Names struct {
	User, Group func(name string) (id string, err error)
}

// Machine are the names of this machine, as its C library or /etc/passwd and
// /etc/group have them.
var Machine = Names{
	User: func(name string) (string, error) {
		u, err := user.Lookup(name)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	},
	Group: func(name string) (string, error) {
		g, err := user.LookupGroup(name)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	},
}

func (n Names) user(name string) (uint32, error) {
	id, err := n.User(name)
	return number("user", "uids", name, id, err)
}

func (n Names) group(name string) (uint32, error) {
	id, err := n.Group(name)
	return number("group", "", name, id, err)
}

// number is strict about names that nobody bears: a rule without them would be
// about everybody.
func number(kind, byNumber, name, id string, err error) (uint32, error) {
	_, noUser := errors.AsType[user.UnknownUserError](err)
	_, noGroup := errors.AsType[user.UnknownGroupError](err)
	switch {
	case (noUser || noGroup) && byNumber != "":
		return 0, fmt.Errorf("this machine has no %s %q: create it, mend the name, or give its number under %s", kind, name, byNumber)
	case noUser || noGroup:
		return 0, fmt.Errorf("this machine has no %s %q: create it, or mend the name", kind, name)
	case err != nil:
		return 0, fmt.Errorf("looking for the %s %q: %w", kind, name, err)
	}
	return parseUID(id)
}

// parseUID reads a user or group id. The largest stands for none at all.
func parseUID(text string) (uint32, error) {
	id, err := strconv.ParseUint(text, 10, 32)
	if err != nil || id == 1<<32-1 {
		return 0, fmt.Errorf("%q is no id: give a number, such as 1000", text)
	}
	return uint32(id), nil
}
