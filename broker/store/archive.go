package store

import (
	"bufio"
	"bytes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A backup is the keyring, as it lies in the folder, and all records, sealed
// once more in chunks: an id that a record shows lies in clear nowhere, and no
// chunk can be dropped, moved or added. See FORMAT.md.
const (
	backupMagic   = "invectd backup\n\x01" // the last byte is the version
	maxChunk      = 1 << 20
	maxKeyring    = 1 << 20
	lastChunk     = 1
	followedChunk = 0
)

var errNoBackup = errors.New("it is no backup of invectd")

// errBackupAltered is the same whatever was altered: it cannot be told what.
var errBackupAltered = errors.New("the backup is cut short, or not what was written")

// backupHeader is what a backup begins with, in clear.
func backupHeader(keyring []byte) []byte {
	header := append([]byte(backupMagic), random(saltSize)...)
	header = binary.BigEndian.AppendUint32(header, uint32(len(keyring)))
	return append(header, keyring...)
}

// readBackupHeader returns all of the header, and the keyring within it.
func readBackupHeader(r io.Reader) (header, keyring []byte, err error) {
	header = make([]byte, len(backupMagic)+saltSize+4)
	if _, err := io.ReadFull(r, header); err != nil || !bytes.HasPrefix(header, []byte(backupMagic[:len(backupMagic)-1])) {
		return nil, nil, errNoBackup
	}
	if version := header[len(backupMagic)-1]; version != backupMagic[len(backupMagic)-1] {
		return nil, nil, fmt.Errorf("it has version %d and this invectd knows only 1", version)
	}
	size := binary.BigEndian.Uint32(header[len(header)-4:])
	if size > maxKeyring {
		return nil, nil, errBackupAltered
	}
	keyring = make([]byte, size)
	if _, err := io.ReadFull(r, keyring); err != nil {
		return nil, nil, errBackupAltered
	}
	return append(header, keyring...), keyring, nil
}

// An archive seals or opens the chunks of one backup, in their order.
type archive struct {
	aead   cipher.AEAD
	digest [sha256.Size]byte // of the header
	chunks uint64
}

func newArchive(keys *rootKeys, header []byte) (*archive, error) {
	key, err := hkdf.Key(sha256.New, keys.Keyring, header[len(backupMagic):len(backupMagic)+saltSize], "invectd/backup/v1", 32)
	if err != nil {
		return nil, err
	}
	aead, err := newGCM(key)
	return &archive{aead: aead, digest: sha256.Sum256(header)}, err
}

// nonce is the number of the chunk, and whether it is the last.
func (a *archive) nonce(kind byte) []byte {
	n := binary.BigEndian.AppendUint64(make([]byte, 3, nonceSize), a.chunks)
	return append(n, kind)
}

// write seals a chunk.
func (a *archive) write(w io.Writer, chunk []byte, kind byte) error {
	head := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(chunk)+tagSize))
	sealed := a.aead.Seal(head, a.nonce(kind), chunk, a.digest[:])
	a.chunks++
	_, err := w.Write(sealed)
	return err
}

// read opens a chunk.
func (a *archive) read(r *bufio.Reader) (chunk []byte, kind byte, err error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, 0, errBackupAltered
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size > maxChunk+maxRecordSize+tagSize {
		return nil, 0, errBackupAltered
	}
	sealed := make([]byte, size)
	if _, err := io.ReadFull(r, sealed); err != nil {
		return nil, 0, errBackupAltered
	}
	chunk, err = a.aead.Open(nil, a.nonce(head[0]), sealed, a.digest[:])
	if err != nil {
		return nil, 0, errBackupAltered
	}
	a.chunks++
	return chunk, head[0], nil
}
