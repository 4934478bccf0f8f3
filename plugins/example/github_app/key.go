package main

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
)

// parseKey reads what GitHub lets an app's owner download: PKCS #1 in PEM. PKCS #8
// is what people make of it.
func parseKey(text string) (crypto.Signer, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("the private key of the GitHub App is no PEM")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("the private key of the GitHub App is neither PKCS #1 nor PKCS #8")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("the private key of the GitHub App cannot sign")
	}
	return signer, nil
}
