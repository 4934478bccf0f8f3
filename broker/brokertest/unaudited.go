package brokertest

import "github.com/invectd/invectd/broker"

// Unaudited is an auditor that writes nothing down.
type Unaudited struct{}

// Denied implements [broker.Auditor].
func (Unaudited) Denied(broker.AuditEntry) {}

// Begin implements [broker.Auditor].
func (Unaudited) Begin(broker.AuditEntry) (uint64, error) { return 0, nil }

// End implements [broker.Auditor].
func (Unaudited) End(uint64, broker.AuditEntry, broker.Outcome) {}

// Read implements [broker.Auditor].
func (Unaudited) Read(broker.AuditEntry, broker.Handout) {}
