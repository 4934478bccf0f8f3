package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"
)

// An Event is what a line tells.
type Event string

// The events.
const (
	EventChange  Event = "change"  // is about to be made
	EventOutcome Event = "outcome" // of the change that line Of announced
	EventDenied  Event = "denied"
	EventDenials Event = "denials" // Count further ones since Since
	EventRead    Event = "read"    // the first of a generation by a caller
	EventReads   Event = "reads"   // Count further ones since Since

	EventBegun     Event = "begun"     // the first line of all
	EventContinued Event = "continued" // the first line of each further file
	EventStarted   Event = "started"   // the daemon
	EventStopped   Event = "stopped"   // the daemon, in good order
	EventMended    Event = "mended"    // what a crash or somebody left behind, found at the start
	EventMissed    Event = "missed"    // Count lines could not be written since Since
	EventPruned    Event = "pruned"    // the lines before Before are removed
)

// A Line is one line of the log. What does not apply is absent.
type Line struct {
	Seq        uint64     `json:"seq"`
	At         time.Time  `json:"at"`
	Event      Event      `json:"event"`
	Caller     *Caller    `json:"caller,omitempty"`
	Verb       string     `json:"verb,omitempty"`
	Credential string     `json:"credential,omitempty"` // its id
	Target     string     `json:"target,omitempty"`     // what else it is about, such as a provider
	Rule       string     `json:"rule,omitempty"`       // which decided
	Of         uint64     `json:"of,omitempty"`         // the line that an outcome belongs to
	Outcome    string     `json:"outcome,omitempty"`    // "done", or a code of the API's errors
	Generation uint64     `json:"generation,omitempty"`
	Token      string     `json:"fingerprint,omitempty"` // of the token
	Count      uint64     `json:"count,omitempty"`
	Since      *time.Time `json:"since,omitempty"`
	Before     uint64     `json:"before,omitempty"`
	Detail     string     `json:"detail,omitempty"`
	Follows    string     `json:"follows,omitempty"` // the mac of the line before, in the first line of a file
}

// maxLine is the size in bytes that no line exceeds.
const maxLine = 8 << 10

// A link is the place of a line in the chain.
type link struct {
	seq uint64
	mac mac
}

const macField = `,"mac":"`

// tailSize is the size of the end of each line: its mac and what is around it.
const tailSize = len(macField) + 2*len(mac{}) + len("\"}\n")

// encode returns the line with its mac and a line feed, and its link.
func (l *Line) encode(k keyset, after link) ([]byte, link, error) {
	encoded, err := json.Marshal(l)
	if err != nil {
		return nil, link{}, errors.New("a line of the audit does not encode")
	}
	body := encoded[:len(encoded)-1] // without the brace
	at := link{l.Seq, k.mac(after.mac, body)}
	encoded = append(body, macField...)
	encoded = append(encoded, at.mac.String()...)
	return append(encoded, "\"}\n"...), at, nil
}

var errNotALine = errors.New("it is not as invectd writes it")

// split parts a line, with its line feed, into what the mac is about and the mac.
func split(line []byte) (body []byte, m mac, err error) {
	cut := len(line) - tailSize
	if cut <= 0 || len(line) > maxLine || bytes.ContainsRune(line[:len(line)-1], '\n') {
		return nil, mac{}, errNotALine
	}
	tail := string(line[cut:])
	m, ok := parseMAC(tail[len(macField) : len(tail)-3])
	if !ok || tail[:len(macField)] != macField || tail[len(tail)-3:] != "\"}\n" {
		return nil, mac{}, errNotALine
	}
	return line[:cut], m, nil
}

// parse reads a line, with its line feed, without judging its mac.
func parse(line []byte) (l Line, m mac, err error) {
	body, m, err := split(line)
	if err != nil {
		return Line{}, mac{}, err
	}
	if json.Unmarshal(append(bytes.Clone(body), '}'), &l) != nil || l.Seq == 0 {
		return Line{}, mac{}, errNotALine
	}
	return l, m, nil
}

// shorten keeps what callers choose from filling a line.
func shorten(text string) string {
	const most = 200
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}
