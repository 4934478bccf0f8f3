package audit

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"github.com/invectd/invectd/broker"
)

// keySize is the size in bytes of the key that a log is made with.
const keySize = 32

// A keyset holds the keys of one log, behind a closure so that nothing that
// prints a struct around it prints them.
type keyset struct{ reveal func() keys }

type keys struct{ chain, head, fingerprint []byte }

func deriveKeys(key []byte) (keyset, error) {
	if len(key) != keySize {
		return keyset{}, errors.New("the key of the audit is not 32 bytes")
	}
	derive := func(what string) []byte {
		derived, err := hkdf.Expand(sha256.New, key, "invectd/audit-"+what+"/v1", keySize)
		if err != nil {
			panic(err) // it only fails for lengths beyond 255 hashes
		}
		return derived
	}
	all := keys{derive("chain"), derive("head"), derive("fingerprint")}
	return keyset{func() keys { return all }}, nil
}

// mac continues the chain from the mac of the line before.
func (k keyset) mac(before mac, line []byte) mac {
	h := hmac.New(sha256.New, k.reveal().chain)
	h.Write(before[:])
	h.Write(line)
	return mac(h.Sum(nil))
}

// fingerprint names a secret without telling it: whoever has the secret and the
// key finds its lines.
func (k keyset) fingerprint(s broker.Secret) string {
	if s.Empty() {
		return ""
	}
	h := hmac.New(sha256.New, k.reveal().fingerprint)
	h.Write([]byte(s.Reveal()))
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// A mac is that of one line.
type mac [sha256.Size]byte

// String returns it in hex.
func (m mac) String() string { return hex.EncodeToString(m[:]) }

// parseMAC reads what [mac.String] writes, and nothing else.
func parseMAC(text string) (m mac, ok bool) {
	decoded, err := hex.DecodeString(text)
	if err != nil || len(decoded) != len(m) || hex.EncodeToString(decoded) != text {
		return mac{}, false
	}
	return mac(decoded), true
}
