package socket

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

// TestProblems: what pages an operator says what it is and what to do.
func TestProblems(t *testing.T) {
	f := newFixture(t)
	mail := f.oauth(t, "mail", time.Hour)
	for status, want := range map[broker.Status]string{
		broker.StatusReauth:   "1 credential needs a person",
		broker.StatusDegraded: "1 credential could not be refreshed in time",
		broker.StatusActive:   `"problems":[]`,
	} {
		c, err := f.store.Update(t.Context(), broker.ID(mail.ID), func(c *broker.Credential) error {
			c.Status = status
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		f.refresher.tokens.Put(c)
		if got := f.do(t, "GET", "/status", ""); got.status != http.StatusOK || !strings.Contains(got.body, want) {
			t.Errorf("with one %s: %d %s, want %s", status, got.status, got.body, want)
		}
	}
	f.damaged = []string{`body of credential "id-1"`}
	for range 10 {
		f.damaged = append(f.damaged, "another")
	}
	got := f.do(t, "GET", "/status", "")
	for _, want := range []string{`11 records of the store are damaged and not served; all else is: body of credential \"id-1\", another`, ", …", `"damagedRecords":11,"outdatedRecords":5`} {
		if !strings.Contains(got.body, want) {
			t.Errorf("with damaged records: %s, want %s", got.body, want)
		}
	}
}

// TestAuditProblems tells of an audit log that cannot be written, or that
// somebody changed.
func TestAuditProblems(t *testing.T) {
	f := newFixture(t)
	state := client.AuditStatus{Altered: true, MAC: strings.Repeat("0", 64)}
	f.server.Audit = func() client.AuditStatus { return state }
	got := f.do(t, "GET", "/status", "")
	for _, want := range []string{"the audit log cannot be written", "somebody changed the audit log", `"audit":{"writable":false,"altered":true,`} {
		if !strings.Contains(got.body, want) {
			t.Errorf("GET /status = %d %s, want %s", got.status, got.body, want)
		}
	}
	if got := f.do(t, "GET", "/readyz", ""); got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, `{"audit":"unavailable","store":"ok"}`) {
		t.Errorf("GET /readyz = %d %s, want 503", got.status, got.body)
	}
	state = client.AuditStatus{Writable: true, MAC: state.MAC}
	if got := f.do(t, "GET", "/status", ""); !strings.Contains(got.body, `"problems":[]`) {
		t.Errorf("GET /status = %d %s, want no problem", got.status, got.body)
	}
}

// TestOutageProblem: an endpoint that fails for everybody is told once, with all
// who wait for it, and not once more as credentials that fail.
func TestOutageProblem(t *testing.T) {
	f := newFixture(t)
	mail := f.oauth(t, "mail", time.Hour)
	f.refresher.tokens.Hinder(broker.ID(mail.ID), "its endpoint fails")
	f.refresher.outages = []broker.Outage{{
		Host: "login.example", Since: time.Date(2026, 11, 23, 15, 4, 5, 0, time.UTC),
		Waiting: map[string]int{"a": 1}, Failure: "503 Service Unavailable",
	}}
	got := f.do(t, "GET", "/status", "")
	for _, want := range []string{
		"the token endpoint at login.example fails for every credential, and 1 waits for it (503 Service Unavailable)",
		"2026-11-23T15:04:05Z", "see whether login.example is up", `"degraded":1`,
	} {
		if !strings.Contains(got.body, want) {
			t.Errorf("GET /status = %s, want %q", got.body, want)
		}
	}
	if strings.Contains(got.body, "could not be refreshed in time") {
		t.Errorf("GET /status = %s, tells of one credential twice", got.body)
	}
	show := f.do(t, "GET", "/credentials/"+mail.ID, "")
	if !strings.Contains(show.body, `"status":"degraded","statusReason":"its endpoint fails"`) {
		t.Errorf("GET /credentials/ID = %s, want degraded and why", show.body)
	}
	if list := f.do(t, "GET", "/credentials?status=degraded", ""); !strings.Contains(list.body, mail.ID) {
		t.Errorf("GET /credentials?status=degraded = %s, want the one that waits", list.body)
	}
}
