package audit

import (
	"errors"
	"io/fs"
	"iter"
	"path/filepath"
)

// Lines yields the lines of the log in a data directory whose numbers are above
// after, the oldest first, without judging whether they are genuine. What is not a
// line is left out: [Verify] tells of it. The error is [ErrNone] where there is no
// log.
func Lines(dir string, after uint64) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		names, err := listFiles(filepath.Join(dir, folderName))
		if err == nil && len(names) == 0 {
			err = ErrNone
		}
		if err != nil {
			yield(Line{}, err)
			return
		}
		for i, name := range names {
			if next, ok := firstLine(names[min(i+1, len(names)-1)]); ok && i+1 < len(names) && next <= after+1 {
				continue
			}
			for raw, err := range rawLines(filepath.Join(dir, folderName, name)) {
				if errors.Is(err, errTorn) || errors.Is(err, fs.ErrNotExist) { // pruned meanwhile
					break
				}
				if err != nil {
					yield(Line{}, err)
					return
				}
				line, _, err := parse(raw)
				if err == nil && line.Seq > after && !yield(line, nil) {
					return
				}
			}
		}
	}
}
