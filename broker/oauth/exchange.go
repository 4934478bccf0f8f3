package oauth

import (
	"errors"
	"slices"
)

var errIssuedType = errors.New("the token that it issued is not of the type that was asked for")

// accessTypes are the token types that can authenticate a request, where nobody
// asked for another one (RFC 8693, section 3).
var accessTypes = []string{
	"urn:ietf:params:oauth:token-type:access_token", "urn:ietf:params:oauth:token-type:jwt",
}

// checkIssuedType checks issued_token_type of a token exchange (RFC 8693, section
// 2.2.1): it says what is in access_token, which need not be an access token. An
// answer that does not say is taken for what was asked.
func checkIssuedType(got answer, requested string) error {
	value, err := got.value()
	if err != nil {
		return err
	}
	given, said := lookup(value, "issued_token_type")
	if !said {
		return nil
	}
	wanted := accessTypes
	if requested != "" {
		wanted = []string{requested}
	}
	if issued, ok := given.(string); !ok || !slices.Contains(wanted, issued) {
		return errIssuedType
	}
	return nil
}
