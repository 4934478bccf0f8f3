package audit

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
)

type idle struct{}

func (idle) Refresh(context.Context, broker.ID, broker.Need) (broker.Token, error) {
	return broker.Token{}, errors.New("nothing is refreshed here")
}
func (idle) Schedule(broker.Summary)  {}
func (idle) Forget(broker.ID)         {}
func (idle) Due(broker.ID) time.Time  { return time.Time{} }
func (idle) Outages() []broker.Outage { return nil }

// BenchmarkTokenRead is a read of a token that is in memory, without the audit
// and with it, in the same run.
func BenchmarkTokenRead(b *testing.B) {
	l, err := Open(Config{Dir: b.TempDir(), Key: testKey, Log: discard})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	for name, auditor := range map[string]broker.Auditor{"unaudited": brokertest.Unaudited{}, "audited": l} {
		b.Run(name, func(b *testing.B) {
			br := broker.New(broker.Parts{
				Store: new(brokertest.MemStore), Tokens: broker.NewTokens(), Events: broker.NewEvents(), Refresher: idle{},
				Policy: broker.NewPolicy(1000), Auditor: auditor,
			})
			c, err := br.CreateCredential(b.Context(), runner, broker.NewCredential{
				Name: "mail", AuthType: broker.AuthBearer, Config: map[string]any{"token": "t"},
			})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := br.Token(b.Context(), runner, string(c.ID), broker.ReadRequest{}); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
