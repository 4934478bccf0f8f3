package main

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/invectd/invectd/broker/store"
)

func newSecretCommand(p program) *cobra.Command {
	return &cobra.Command{
		Use:   "secret",
		Short: "Print a new encryption key",
		Long: `Print a new encryption key for "invectd serve": 32 random bytes in base64.

Keep a copy where the machine's disk is not: without the key, the store and its
backups cannot be opened by anybody.`,
		Example: `  umask 077; invectd secret > invectd.key
  INVECT_ENCRYPTION_KEY_FILE=invectd.key invectd serve`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(p.stdout, newKeyText())
			return err
		},
	}
}

// newKeyText returns a new key as operators write it.
func newKeyText() string {
	var key [store.KeySize]byte
	rand.Read(key[:])
	return base64.StdEncoding.EncodeToString(key[:])
}
