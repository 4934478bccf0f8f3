package host

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	maxLine        = 1 << 10 // bytes of a line that are kept
	linesPerMinute = 60
)

// printed takes what a plugin prints to standard error, and puts of it into the
// log what fits: short lines, and few of them. It never holds a plugin up. Of one
// that was shown a secret it only counts the lines. Each process has one of its own.
type printed struct {
	log *slog.Logger

	mu      sync.Mutex
	quiet   bool   // the plugin was shown a secret
	line    []byte // the beginning of a line that has not ended yet
	minute  time.Time
	logged  int // in this minute
	dropped int // since one was logged
}

// keepQuiet says that the plugin is shown a secret from now on.
func (p *printed) keepQuiet() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.quiet, p.line = true, nil
}

// Write implements [io.Writer].
func (p *printed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for rest := b; len(rest) > 0; {
		part, after, ended := bytes.Cut(rest, []byte("\n"))
		p.line = append(p.line, part[:min(len(part), maxLine-len(p.line))]...)
		if ended {
			p.endLine(time.Now())
		}
		rest = after
	}
	return len(b), nil
}

// endLine logs a line, if it may. p.mu is held.
func (p *printed) endLine(now time.Time) {
	line := strings.ToValidUTF8(string(p.line), "�")
	p.line = p.line[:0]
	if now.Sub(p.minute) >= time.Minute {
		p.minute, p.logged = now, 0
	}
	if p.logged >= linesPerMinute || p.quiet && p.logged > 0 {
		p.dropped++
		return
	}
	p.logged++
	if p.quiet {
		line = "(kept back, since the plugin was shown secrets)"
	}
	p.log.Info("the plugin printed a line", "line", line, "dropped", p.dropped)
	p.dropped = 0
}
