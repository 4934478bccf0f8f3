package socket

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

// heartbeat is how often a stream without events gets a comment, so that either
// side notices when the other is gone.
const heartbeat = 15 * time.Second

// events streams what happens (the EventSource of the HTML standard), from now
// on, or from after the event that Last-Event-ID names.
func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	after, err := s.Broker.LastEvent(callerOf(r.Context()))
	if err != nil {
		return err
	}
	if text := r.Header.Get("Last-Event-ID"); text != "" {
		if after, err = strconv.ParseUint(text, 10, 64); err != nil {
			return invalidRequest("Last-Event-ID", "give an id that came with an event, or none")
		}
	}
	connectionOf(r.Context()).leave()
	stream := http.NewResponseController(w)
	if err := stream.SetWriteDeadline(time.Time{}); err != nil {
		return fmt.Errorf("opening an event stream: %w", err)
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	ctx, cancel := s.untilStop(r.Context())
	defer cancel()
	for {
		if err := stream.Flush(); err != nil {
			return nil // the listener is gone
		}
		wait, stop := context.WithTimeoutCause(ctx, heartbeat, errHeartbeat)
		list, last, err := s.Broker.EventsAfter(wait, callerOf(r.Context()), after)
		stop()
		switch {
		case errors.Is(err, errHeartbeat):
			_, _ = w.Write([]byte(":\n\n"))
		case err != nil:
			return nil // it is gone, or the daemon stops
		default:
			after = last
			_, _ = w.Write(eventsText(list))
		}
	}
}

var errHeartbeat = errors.New("it is time for a heartbeat")

// untilStop ends with ctx, or when the server begins to stop.
func (s *Server) untilStop(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-s.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

func eventsText(list []broker.Event) []byte {
	var text bytes.Buffer
	for _, e := range list {
		data, _ := json.Marshal(client.Event{ // strings and a time, which can always be written
			CredentialID: string(e.CredentialID), ProviderID: e.ProviderID, Plugin: e.Plugin,
			Status: string(e.Status), Reason: e.Reason, At: e.At,
		})
		fmt.Fprintf(&text, "id: %d\nevent: %s\ndata: %s\n\n", e.ID, e.Type, data)
	}
	return text.Bytes()
}
