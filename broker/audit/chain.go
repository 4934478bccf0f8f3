package audit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
)

// A chain judges lines one after the other.
type chain struct {
	keys  keyset
	last  link // of the line before
	known bool // last is that of the line before, by its own word at least
}

// A gap is a run of lines that are not there.
type gap struct{ from, to uint64 }

func (g gap) String() string {
	if g.from == g.to {
		return fmt.Sprintf("line %d is missing", g.from)
	}
	return fmt.Sprintf("lines %d to %d are missing", g.from, g.to)
}

// A finding is what is wrong with a line.
type finding struct {
	what    string
	missing gap // before the line; zero if none
}

// check judges the next line, the first of its file or not. The line is what it
// says even where a finding is about it.
func (c *chain) check(raw []byte, first bool) (Line, *finding) {
	body, own, err := split(raw)
	var line Line
	if err == nil {
		line, _, err = parse(raw)
	}
	if err != nil {
		c.known = false
		return line, &finding{what: err.Error()}
	}
	before, known := c.last, c.known
	if first {
		follows, ok := parseMAC(line.Follows)
		switch {
		case line.Event == EventBegun && line.Seq == 1:
			before, known = link{}, true
		case line.Event == EventContinued && ok:
			before, known = link{line.Seq - 1, follows}, true
		default:
			return line, c.accept(line.Seq, own, &finding{what: "it is not how a file begins"})
		}
	}
	if !known {
		// Its mac hangs on that of a line that cannot be read.
		return line, c.accept(line.Seq, own, nil)
	}
	if c.keys.mac(before.mac, body) == own && line.Seq == before.seq+1 {
		var found *finding
		if first {
			found = c.join(before, line.Seq)
		}
		return line, c.accept(line.Seq, own, found)
	}
	return line, c.blame(line.Seq, own, before)
}

// join judges how a file that is whole goes on where the one before ends.
func (c *chain) join(before link, seq uint64) *finding {
	switch {
	case !c.known || before == c.last:
		return nil
	case before.seq > c.last.seq:
		g := gap{c.last.seq + 1, before.seq}
		return &finding{what: g.String(), missing: g}
	case before.seq == c.last.seq:
		return &finding{what: fmt.Sprintf("line %d, which it follows, was edited", before.seq)}
	}
	return &finding{what: fmt.Sprintf("it is line %d, and line %d was there before", seq, c.last.seq)}
}

// blame says what is wrong with a line whose mac is not that of this place.
func (c *chain) blame(seq uint64, own mac, before link) *finding {
	switch want := before.seq + 1; {
	case seq == want:
		return c.accept(seq, own, &finding{what: "it was edited"})
	case seq > want:
		g := gap{want, seq - 1}
		return c.accept(seq, own, &finding{what: g.String(), missing: g})
	}
	// Without it, the lines around it fit together.
	return &finding{what: fmt.Sprintf("it was inserted or moved: it says that it is line %d, and this is the place of line %d", seq, before.seq+1)}
}

// accept goes on from a line, whatever was found about it.
func (c *chain) accept(seq uint64, own mac, found *finding) *finding {
	c.last, c.known = link{seq, own}, true
	return found
}

// errTorn says that the last line of a file has no end.
var errTorn = errors.New("its last line is cut short")

// rawLines yields the lines of a file with their line feeds. One that is longer
// than any line can be comes in pieces. What follows the last line feed comes
// with [errTorn].
func rawLines(path string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		f, err := os.Open(path)
		if err != nil {
			yield(nil, err)
			return
		}
		defer f.Close()
		in := bufio.NewReaderSize(f, maxLine+1)
		for {
			line, err := in.ReadSlice('\n')
			switch {
			case err == nil, errors.Is(err, bufio.ErrBufferFull):
				if !yield(line, nil) {
					return
				}
			case err == io.EOF && len(line) > 0:
				yield(line, errTorn)
				return
			case err == io.EOF:
				return
			default:
				yield(nil, err)
				return
			}
		}
	}
}
