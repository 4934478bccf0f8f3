// Package audit writes down who was let in, who was refused and what was done,
// in a way that shows when somebody has changed what was written.
//
// # What is written
//
// A change is announced by a line that is on disk before the change begins, and
// followed by a line that tells how it ended, or by none if the daemon died in
// between. Each denial is written, up to [denialsAtOnce] of one caller a minute,
// and the first read of each generation of a token by a caller; further ones are
// counted, and a line a minute has the count. What the daemon does by itself is
// written as done by "daemon". Where nothing can be written, changes are
// refused and reads go on, and a later line says how many lines are missing.
//
// # What lies on disk
//
// DATA_DIR/audit holds files of JSON lines, each named after the number of its
// first line. FORMAT.md has the bytes. Each line ends with
//
//	"mac": HMAC-SHA256(chain key, mac of the line before | the line without its mac)
//
// and beside the folder lies a head, which tells the number and the mac of the
// last line, so that a cut tail is missed too. [Verify] finds each line that was
// edited, removed, inserted or moved. What it cannot find by itself is a folder
// and a head that were both put back to an earlier state: for that the number and
// the mac of the last line are also told in the log and in the metrics, and
// [Verify] compares with what was kept of those elsewhere.
package audit
