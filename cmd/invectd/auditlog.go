package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/audit"
	"github.com/invectd/invectd/broker/store"
	"github.com/invectd/invectd/metrics"
	"github.com/invectd/invectd/socket/client"
)

// openAudit opens the audit log that belongs to a store.
func openAudit(dir string, db *store.DB, log *slog.Logger) (*audit.Log, error) {
	key, err := db.AuditKey()
	if err != nil {
		return nil, fmt.Errorf("opening the audit log: %w", err)
	}
	trail, err := audit.Open(audit.Config{Dir: dir, Key: key, Anchor: db, Log: log})
	if err != nil {
		return nil, fmt.Errorf("opening the audit log: %w", err)
	}
	return trail, nil
}

// auditedBackups are those that the daemon makes by itself.
type auditedBackups struct {
	broker.Backups
	auditor broker.Auditor
}

// Backup implements [broker.Backups].
func (b auditedBackups) Backup(ctx context.Context, w io.Writer) error {
	entry := broker.AuditEntry{Caller: broker.Daemon, Verb: broker.VerbAdmin, Target: "backup"}
	line, err := b.auditor.Begin(entry)
	if err != nil {
		return err
	}
	err = b.Backups.Backup(ctx, w)
	b.auditor.End(line, entry, broker.Outcome{Err: err})
	return err
}

// auditStatus is how the log is, as /status has it.
func auditStatus(s audit.State) client.AuditStatus {
	return client.AuditStatus{Writable: s.Failure == nil, Altered: s.Altered, Line: s.Line, MAC: s.MAC}
}

// auditMetrics is how the log is, as /metrics has it.
func auditMetrics(s audit.State) metrics.AuditState {
	mark, err := strconv.ParseUint(s.MAC[:12], 16, 64)
	if err != nil {
		mark = 0 // a mac is always hex
	}
	return metrics.AuditState{Writable: s.Failure == nil, Altered: s.Altered, Missed: s.Missed, Line: s.Line, Mark: mark}
}
