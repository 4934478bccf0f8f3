package store

import (
	"fmt"
	"os"
	"path/filepath"
)

// removeEmptyLogs removes logs without a byte in them, of which Badger says that
// they cannot be opened. A process that was killed leaves one in two moments:
// when it had made a log and not yet given it its size, and when it had cut one
// whose records lie in a table already, before it could remove it. A log with a
// record in it is never empty.
func removeEmptyLogs(folder string) error {
	logs, err := filepath.Glob(filepath.Join(folder, "*.mem"))
	if err != nil {
		return fmt.Errorf("looking for the logs in %s: %w", folder, err)
	}
	for _, log := range logs {
		info, err := os.Lstat(log)
		if err == nil && info.Mode().IsRegular() && info.Size() == 0 {
			err = os.Remove(log)
		}
		if err != nil {
			return fmt.Errorf("removing the empty log %s: %w", log, err)
		}
	}
	return nil
}
