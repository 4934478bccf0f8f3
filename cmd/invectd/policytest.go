package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/cmd/invectd/internal/policyfile"
	"github.com/invectd/invectd/socket"
	"github.com/invectd/invectd/socket/client"
)

func newPolicyTestCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test --verb VERB",
		Short: "Tell which rule decides on a request",
		Long: `Tell which rule decides on a request that somebody might make: exit code 0 if it is
allowed, 4 if it is denied.

--credential is the id or the name of one that the daemon has. With --provider,
--workspace or --metadata it is the name of one that there could be. Without any of
them the request names no credential, as listing does.

With --file the rules are those of a file, which nothing has to have installed yet,
and the daemon is not asked.`,
		Example: `  invectd policy test --user runner --verb token --credential "Work mail"
  invectd policy test --uid 1000 --unit ci.service --verb token --credential x --provider github
  invectd policy test --file new.yaml --user runner --runner --verb header --credential "Work mail"`,
		Args: cobra.NoArgs,
	}
	d, asJSON := addDaemonFlag(p, cmd), addJSONFlag(cmd)
	var t policyTest
	t.addFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		question, err := t.question()
		if err != nil {
			return err
		}
		decision, err := t.ask(cmd.Context(), d, question)
		if err != nil {
			return err
		}
		if *asJSON {
			err = printJSON(p.stdout, decision)
		} else {
			_, err = fmt.Fprintln(p.stdout, decisionText(decision))
		}
		if err == nil && !decision.Allowed {
			err = errDenied
		}
		return err
	}
	return cmd
}

// errDenied is the exit code of a test whose answer has been printed.
var errDenied = errors.New("denied")

func decisionText(d client.PolicyDecision) string {
	what := "denied by"
	if d.Allowed {
		what = "allowed by"
	}
	text := fmt.Sprintf("%s rule %q", what, d.Rule)
	switch d.Rule {
	case "root", "self":
		text = what + " being " + map[string]string{"root": "root", "self": "the daemon's own user"}[d.Rule] + " on the full socket"
	case "default":
		text = "denied, since no rule allows it"
	case "unattested":
		text = "denied, since nobody knows who it is"
	}
	switch {
	case d.Allowed:
		return text
	case d.Visible:
		return text + "; the caller may " + strings.Join(d.Verbs, ", ")
	}
	return text + "; for the caller there is no such thing"
}

// A policyTest is what was given on the command line.
type policyTest struct {
	file string

	user   string
	uid    int64
	groups []string
	unit   string
	cgroup string
	grant  string
	runner bool

	verb       string
	credential string
	provider   string
	workspace  string
	metadata   map[string]string
}

func (t *policyTest) addFlags(f *pflag.FlagSet) {
	f.StringVar(&t.file, "file", "", "policy `FILE` to test, instead of what is in force")
	f.StringVar(&t.user, "user", "", "`NAME` of the user who asks, whose groups count")
	f.Int64Var(&t.uid, "uid", -1, "or the number of the user")
	f.StringSliceVar(&t.groups, "group", nil, "`GROUP`s that it is in besides, names or numbers")
	f.StringVar(&t.unit, "unit", "", "systemd `UNIT` that it runs in")
	f.StringVar(&t.cgroup, "cgroup", "", "`PATH` of the cgroup that it runs in")
	f.StringVar(&t.grant, "grant", "", "`NAME` or id of the grant that it presents; what that gives by itself is not looked at")
	f.BoolVar(&t.runner, "runner", false, "it asks over the runners' socket")
	f.StringVar(&t.verb, "verb", "", "what it wants: token, resolve, header, rejected, list, read, write, connect, refresh or admin")
	f.StringVar(&t.credential, "credential", "", "`REF` of the credential, or the name of one that there could be")
	f.StringVar(&t.provider, "provider", "", "`ID` of the provider of a credential that there could be")
	f.StringVar(&t.workspace, "workspace", "", "its workspace `ID`")
	addMap(f, &t.metadata, "metadata", "its metadata, `KEY=VALUE`")
}

// question puts the request together.
func (t *policyTest) question() (client.PolicyQuestion, error) {
	q := client.PolicyQuestion{Verb: t.verb, Unit: t.unit, Cgroup: t.cgroup, Grant: t.grant, Runner: t.runner}
	if set, err := broker.ParseVerbs(t.verb); err != nil || set == broker.AllVerbs {
		return q, usagef("--verb %q: give one verb, such as token, resolve, header or list", t.verb)
	}
	if err := t.caller(&q); err != nil {
		return q, err
	}
	switch supposed := t.provider != "" || t.workspace != "" || len(t.metadata) > 0; {
	case supposed || t.file != "" && t.credential != "":
		q.Supposed = &client.PolicySubject{Name: t.credential, Provider: t.provider, WorkspaceID: t.workspace, Metadata: map[string]any{}}
		for key, value := range t.metadata {
			q.Supposed.Metadata[key] = value
		}
	default:
		q.Credential = t.credential
	}
	return q, nil
}

// caller fills in who asks. Of a user who is named the groups of this machine
// count.
func (t *policyTest) caller(q *client.PolicyQuestion) error {
	switch {
	case t.user != "" && t.uid >= 0:
		return usagef("give --user or --uid, and not both")
	case t.uid > math.MaxUint32:
		return usagef("--uid %d is no user id", t.uid)
	case t.uid >= 0:
		q.UID = new(uint32(t.uid))
	case t.user != "":
		if err := lookUp(t.user, q); err != nil {
			return err
		}
	}
	for _, name := range t.groups {
		gid, err := parseGroup("--group", name)
		if err != nil {
			return err
		}
		q.Groups = append(q.Groups, uint32(gid))
	}
	return nil
}

func lookUp(name string, q *client.PolicyQuestion) error {
	u, err := user.Lookup(name)
	if err != nil {
		return fmt.Errorf("--user %s: %w", name, err)
	}
	groups, err := u.GroupIds()
	if err != nil {
		return fmt.Errorf("looking for the groups of %s: %w", name, err)
	}
	ids := make([]uint32, 0, 2+len(groups))
	for _, text := range slices.Concat([]string{u.Uid, u.Gid}, groups) {
		id, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return fmt.Errorf("--user %s has the id %q, which is no number", name, text)
		}
		ids = append(ids, uint32(id))
	}
	q.UID, q.GID, q.Groups = &ids[0], &ids[1], ids[2:]
	return nil
}

// ask asks the daemon, or decides by a file as it would.
func (t *policyTest) ask(ctx context.Context, d *daemonFlag, q client.PolicyQuestion) (client.PolicyDecision, error) {
	if t.file == "" {
		c, err := d.dial()
		if err != nil {
			return client.PolicyDecision{}, err
		}
		defer c.Close()
		return c.TestPolicy(ctx, q)
	}
	rules, err := policyfile.Load(t.file)
	if err != nil {
		return client.PolicyDecision{}, err
	}
	policy := broker.NewPolicy(math.MaxUint32) // no user's id: whose the daemon is a file does not say
	policy.Use(t.file, rules, time.Now())
	return socket.DecideBy(policy, q), nil
}
