package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrNone says that there is no audit log in a folder.
var ErrNone = errors.New("there is no audit log")

// maxProblems is how many problems a report names.
const maxProblems = 100

// A Report is what [Verify] found.
type Report struct {
	Files int
	Lines uint64
	First uint64   // the number of the oldest line
	Last  Position // the newest line
	// Notices are what is odd and explained: lines that a power cut took, or a
	// line that is being written.
	Notices []string
	// Problems are what somebody changed, at most 100 of them.
	Problems []Problem
}

// A Problem is one place where a log is not what was written.
type Problem struct {
	File string // its name
	Line int    // in that file, from 1; 0 where it is about the file as a whole
	What string
}

func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.What
	}
	return fmt.Sprintf("%s, line %d: %s", p.File, p.Line, p.What)
}

// A Kept position was told in the log or in the metrics of the daemon, and kept
// where nobody who can write to the log could change it.
type Kept struct {
	Line uint64
	MAC  string // hex digits from the beginning of it
}

// ParseKept reads LINE:MAC.
func ParseKept(text string) (Kept, error) {
	number, digits, ok := strings.Cut(text, ":")
	line, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil || line == 0 || len(digits) < 8 || strings.Trim(digits, "0123456789abcdef") != "" {
		return Kept{}, fmt.Errorf("%q: give the number of a line, a colon and the first 8 or more digits of its mac", text)
	}
	return Kept{line, digits}, nil
}

// Verify checks every line of the log in a data directory, the daemon running or
// not. kept may be nil. It is an error if there is no log, [ErrNone], or it cannot
// be read.
func Verify(dir string, key []byte, kept *Kept) (Report, error) {
	k, err := deriveKeys(key)
	if err != nil {
		return Report{}, err
	}
	// A file that is pruned while it is read would look as if it were lost.
	for range 3 {
		v := verifier{keys: k, dir: dir, chain: chain{keys: k}, kept: kept, excused: map[gap]bool{}}
		if err = v.run(); !errors.Is(err, fs.ErrNotExist) {
			return v.report, err
		}
	}
	return Report{}, err
}

// A verifier verifies one log.
type verifier struct {
	keys    keyset
	dir     string
	kept    *Kept
	chain   chain
	report  Report
	pruned  uint64 // what lies before this line was removed by the daemon
	gaps    []gapAt
	excused map[gap]bool // those that the daemon told of as lost to a power cut
	met     bool         // the kept line
}

type gapAt struct {
	gap
	at Problem
}

func (v *verifier) run() error {
	// The head first: a line is written before the head that tells of it.
	told, known, headErr := readHead(filepath.Join(v.dir, headName), v.keys)
	names, err := listFiles(filepath.Join(v.dir, folderName))
	if err != nil {
		return err
	}
	if len(names) == 0 && !known && headErr == nil {
		return ErrNone
	}
	v.report.Files = len(names)
	for i, name := range names {
		if err := v.file(name, i == len(names)-1); err != nil {
			return err
		}
	}
	v.judgeBeginning(names)
	v.judgeHead(told, known, headErr)
	v.judgeGaps()
	if v.kept != nil && !v.met {
		v.problem(folderName, 0, fmt.Sprintf("line %d, which was kept elsewhere, is missing or another one", v.kept.Line))
	}
	v.report.Last = Position{v.chain.last.seq, v.chain.last.mac.String()}
	return nil
}

// file verifies one file.
func (v *verifier) file(name string, newest bool) error {
	number := 0
	for raw, err := range rawLines(filepath.Join(v.dir, folderName, name)) {
		number++
		switch {
		case errors.Is(err, errTorn) && newest:
			v.report.Notices = append(v.report.Notices, fmt.Sprintf("%s, line %d: it is cut short, or being written just now", name, number))
			return nil
		case errors.Is(err, errTorn):
			v.problem(name, number, err.Error())
			return nil
		case err != nil:
			return err
		}
		v.line(name, number, raw)
	}
	return nil
}

func (v *verifier) line(name string, number int, raw []byte) {
	line, found := v.chain.check(raw, number == 1)
	v.report.Lines++
	if v.report.First == 0 {
		v.report.First = line.Seq
	}
	if first, _ := firstLine(name); number == 1 && found == nil && line.Seq != first {
		found = &finding{what: "the file has the name of another"}
	}
	switch {
	case found == nil:
		v.note(&line)
	case found.missing != gap{}:
		v.gaps = append(v.gaps, gapAt{found.missing, Problem{name, number, found.what + " before it"}})
	default:
		v.problem(name, number, found.what)
	}
}

// note takes note of what a genuine line says about others.
func (v *verifier) note(line *Line) {
	switch line.Event {
	case EventPruned:
		v.pruned = max(v.pruned, line.Before)
	case EventMended:
		if line.Of > 0 {
			v.excused[gap{line.Of, line.Before - 1}] = true
		}
	}
	if v.kept != nil && line.Seq == v.kept.Line {
		v.met = strings.HasPrefix(v.chain.last.mac.String(), v.kept.MAC)
	}
}

// judgeBeginning looks whether the oldest files were removed by the daemon.
func (v *verifier) judgeBeginning(names []string) {
	if first := v.report.First; first > max(1, v.pruned) {
		from := max(1, v.pruned)
		v.problem(names[0], 0, gap{from, first - 1}.String()+" before it, and the daemon did not remove them")
	}
}

// judgeHead looks whether the end is there.
func (v *verifier) judgeHead(told mark, known bool, err error) {
	last := v.chain.last
	switch {
	case err != nil:
		v.problem(headName, 0, err.Error())
	case !known:
		v.problem(headName, 0, "it is missing, so nothing tells whether the end of the log is")
	case told.last.seq > last.seq:
		v.problem(folderName, 0, gap{last.seq + 1, told.last.seq}.String()+" at the end")
	case told.last.seq == last.seq && told.last.mac != last.mac:
		v.problem(folderName, 0, fmt.Sprintf("line %d, the last one, was edited", last.seq))
	}
}

func (v *verifier) judgeGaps() {
	for _, g := range v.gaps {
		if v.excused[g.gap] {
			v.report.Notices = append(v.report.Notices, g.at.String()+": they were not on disk yet when the daemon ended")
			continue
		}
		v.problem(g.at.File, g.at.Line, g.at.What)
	}
}

func (v *verifier) problem(file string, line int, what string) {
	if len(v.report.Problems) < maxProblems {
		v.report.Problems = append(v.report.Problems, Problem{file, line, what})
	}
}
