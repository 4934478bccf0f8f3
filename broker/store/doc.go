// Package store keeps the broker's records on disk. It is the one importer of
// Badger, and implements [broker.Store].
//
// Badger gives order, atomic commits and a log; what it says is not taken on
// trust. Its encryption (AES-CTR) does not notice tampering and it drops damaged
// parts of its files in silence. So every record is sealed here, bound to its
// place and its revision, a sealed root record accounts for all of them, and
// absent, lost and altered are told apart: see [DamagedError]. FORMAT.md
// describes every byte.
//
// What it cannot notice from the inside is a whole data directory put back to an
// earlier state. The number of commits, logged at every start, tells from the
// outside.
package store
