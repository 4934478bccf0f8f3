package audit

import (
	"context"
	"time"
)

// An Anchor remembers a line of the log elsewhere, so that somebody who removes
// the whole log, head and all, or puts an earlier one in its place, is found out
// at the next start.
type Anchor interface {
	// AuditMark returns the line and its mac; 0 if it was never told of one.
	AuditMark(ctx context.Context) (line uint64, mac []byte, err error)
	// PutAuditMark remembers a line.
	PutAuditMark(ctx context.Context, line uint64, mac []byte) error
}

const anchorTimeout = 2 * time.Second

// anchored returns the line that the anchor knows, the zero link if none.
func (l *Log) anchored() (link, error) {
	ctx, cancel := context.WithTimeout(context.Background(), anchorTimeout)
	defer cancel()
	line, sum, err := l.config.Anchor.AuditMark(ctx)
	if err != nil || len(sum) != len(mac{}) {
		return link{}, err
	}
	return link{line, mac(sum)}, nil
}

// dropAnchor has the anchor remember the last line, once that is on disk. A store
// that cannot be written tells so itself.
func (l *Log) dropAnchor(ctx context.Context) {
	l.mu.Lock()
	last := l.last
	l.mu.Unlock()
	if last == l.told || l.sync(last.seq) != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, anchorTimeout)
	defer cancel()
	if l.config.Anchor.PutAuditMark(ctx, last.seq, last.mac[:]) == nil {
		l.told = last
	}
}
