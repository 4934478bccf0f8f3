package socket

import (
	"fmt"
	"net/http"
	"time"
)

// backup streams a backup. One that breaks off is cut off as a connection is, so
// that nobody takes it for whole.
func (s *Server) backup(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := s.untilStop(r.Context())
	defer cancel()
	out := &backupWriter{w: w, controller: http.NewResponseController(w)}
	err := s.Broker.Backup(ctx, callerOf(r.Context()), out)
	if err == nil || !out.begun {
		return err
	}
	s.Log.Warn("a backup was broken off", "err", err)
	panic(http.ErrAbortHandler)
}

// A backupWriter gives each piece the time that a whole answer has otherwise.
type backupWriter struct {
	w          http.ResponseWriter
	controller *http.ResponseController
	begun      bool
}

func (b *backupWriter) Write(piece []byte) (int, error) {
	if err := b.controller.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, fmt.Errorf("streaming a backup: %w", err)
	}
	if !b.begun {
		b.begun = true
		b.w.Header().Set("Content-Type", "application/octet-stream")
	}
	return b.w.Write(piece)
}
