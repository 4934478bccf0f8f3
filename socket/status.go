package socket

import (
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

// A watch remembers since when something has been failing.
type watch struct {
	mu    sync.Mutex
	since time.Time // guarded by mu; zero while all is well
}

// note takes down what a check found, and returns since when it fails.
func (w *watch) note(failed bool, now time.Time) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !failed:
		w.since = time.Time{}
	case w.since.IsZero():
		w.since = now
	}
	return w.since
}

// A StoreCondition tells how a store is, besides whether it can be written.
type StoreCondition struct {
	Damaged  []string // the records that it holds and cannot read, in words
	Repairs  uint64   // how often it was damaged and repaired itself
	Outdated int      // records under a data key from before a rotation
}

// A problem is something that an operator has to look at.
type problem struct {
	watch watch
	what  func(count int) string
	todo  string
}

// problems are all that /status knows of.
type problems struct{ store, damaged, policy, unaudited, altered, refused, failing problem }

func newProblems() *problems {
	return &problems{
		store: problem{
			what: func(int) string { return "the store cannot be written, so no token is refreshed" },
			todo: "free space on the disk of the data folder, and read the log",
		},
		damaged: problem{
			what: func(count int) string {
				return plural(count, "record of the store is", "records of the store are") + " damaged and not served; all else is"
			},
			todo: "delete and connect again what is named, or restore a backup; and look after the disk",
		},
		policy: problem{
			what: func(int) string { return "the policy file cannot be used, so the rules before it stay in force" },
			todo: "invectd policy, for what is wrong with the file; it is read again when it changes",
		},
		unaudited: problem{
			what: func(int) string {
				return "the audit log cannot be written, so no change is made and no token refreshed"
			},
			todo: "free space on the disk of the data folder, and read the log",
		},
		altered: problem{
			what: func(int) string { return "somebody changed the audit log" },
			todo: "keep a copy of it, and see what is missing with: invectd audit verify",
		},
		refused: problem{
			what: func(count int) string {
				return plural(count, "credential needs", "credentials need") + " a person to consent again"
			},
			todo: "invectd list --status reauth_required, then invectd connect PROVIDER --existing ID",
		},
		failing: problem{
			what: func(count int) string {
				return plural(count, "credential", "credentials") + " could not be refreshed in time; it is tried again"
			},
			todo: "invectd list --status degraded, then invectd show ID for the reason",
		},
	}
}

func plural(count int, one, many string) string {
	if count == 1 {
		return "1 " + one
	}
	return strconv.Itoa(count) + " " + many
}

// look appends the problem to list if there is any of it that the caller sees;
// all is what there is.
func (p *problem) look(list []client.Problem, all, seen int) []client.Problem {
	since := p.watch.note(all > 0, time.Now())
	if seen <= 0 {
		return list
	}
	return append(list, client.Problem{What: p.what(seen), Since: wireTime(since), Todo: p.todo})
}

// outageProblems appends the token endpoints that fail for everybody, and counts
// the credentials that wait for them.
func outageProblems(list []client.Problem, outages []broker.Outage) (_ []client.Problem, waiting int) {
	for _, o := range outages {
		here := 0
		for _, count := range o.Waiting {
			here += count
		}
		waiting += here
		list = append(list, client.Problem{
			What:  fmt.Sprintf("the token endpoint at %s fails for every credential, and %s (%s)", o.Host, plural(here, "waits for it", "wait for it"), o.Failure),
			Since: wireTime(o.Since),
			Todo: "see whether " + o.Host + " is up and can be reached from here; it is probed at least every few minutes, and what waits is renewed by itself once it answers; " +
				"invectd refresh ID probes at once",
		})
	}
	return list, waiting
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) error {
	census, err := s.Broker.Census(r.Context(), callerOf(r.Context()))
	if err != nil {
		return err
	}
	condition := s.Condition()
	out := client.Status{
		Version:       s.Version,
		UptimeSeconds: int64(time.Since(s.started) / time.Second),
		Listeners:     s.Listeners(),
		Store: client.StoreStatus{
			Writable: s.Health(r.Context()) == nil,
			Repairs:  condition.Repairs, DamagedRecords: len(condition.Damaged), OutdatedRecords: condition.Outdated,
		},
		Audit:       s.Audit(),
		Credentials: make(map[string]int, len(census.Credentials)),
		Providers:   census.Providers,
		Plugins:     census.Plugins,
		Problems:    []client.Problem{},
	}
	for status, n := range census.Credentials {
		out.Credentials[string(status)] = n
	}
	out.Problems = s.problems.lookDamaged(out.Problems, condition.Damaged, census.Administers)
	for _, is := range []struct {
		problem *problem
		there   bool
	}{
		{&s.problems.store, !out.Store.Writable},
		{&s.problems.policy, s.Broker.Policy.State().Fault != ""},
		{&s.problems.unaudited, !out.Audit.Writable},
		{&s.problems.altered, out.Audit.Altered},
	} {
		out.Problems = is.problem.look(out.Problems, count(is.there), count(is.there))
	}
	out.Problems = s.problems.refused.look(out.Problems, census.All[broker.StatusReauth], census.Credentials[broker.StatusReauth])
	var waiting int
	out.Problems, waiting = outageProblems(out.Problems, census.Outages)
	out.Problems = s.problems.failing.look(out.Problems, census.All[broker.StatusDegraded]-waiting, census.Credentials[broker.StatusDegraded]-waiting)
	for _, p := range census.Problems {
		out.Problems = append(out.Problems, client.Problem{What: p.What, Since: wireTime(p.Since), Todo: p.Todo})
	}
	return answer(w, http.StatusOK, out)
}

func count(present bool) int {
	if present {
		return 1
	}
	return 0
}

// lookDamaged is look for the damaged records, some of which it names: to those
// who may administer, since whom else a credential exists for is not known.
func (p *problems) lookDamaged(list []client.Problem, damaged []string, seen bool) []client.Problem {
	const shown = 8
	found := p.damaged.look(list, len(damaged), count(seen)*len(damaged))
	if len(damaged) > 0 && seen {
		what := &found[len(found)-1].What
		*what += ": " + strings.Join(damaged[:min(shown, len(damaged))], ", ")
		if len(damaged) > shown {
			*what += ", …"
		}
	}
	return found
}

// health tells whether all work can be done. It is what /healthz and /readyz
// answer, since there is nothing that a restart would mend and time would not.
func (s *Server) health(w http.ResponseWriter, r *http.Request) error {
	store, audit := s.Health(r.Context()) == nil, s.Audit().Writable
	checks := map[string]string{"store": check(store), "audit": check(audit)}
	if store && audit {
		return answer(w, http.StatusOK, client.Health{Status: "ok", Checks: checks})
	}
	why := "the store cannot be written"
	if store {
		why = "the audit log cannot be written"
	}
	w.Header().Set("Retry-After", "1")
	return answer(w, http.StatusServiceUnavailable, client.Health{
		Status: "unavailable", Checks: checks, Error: why, Code: "store_unavailable",
	})
}

func check(ok bool) string {
	if ok {
		return "ok"
	}
	return "unavailable"
}

func (s *Server) version(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, http.StatusOK, client.Version{Version: s.Version, Go: runtime.Version()})
}
