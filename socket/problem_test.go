package socket

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
)

// TestProblems: what pages an operator says what it is and what to do.
func TestProblems(t *testing.T) {
	f := newFixture(t)
	mail := f.oauth(t, "mail", time.Hour)
	for status, want := range map[broker.Status]string{
		broker.StatusReauth:   "1 credential needs a person",
		broker.StatusDegraded: "1 credential could not be refreshed",
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
