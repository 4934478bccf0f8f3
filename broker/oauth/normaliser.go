package oauth

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/invectd/invectd/broker"
)

// A normaliser is the transport under x/oauth2 for one token request. What it
// is given is RFC 6749's, and so is what it returns; what it sends and reads is
// the vendor's.
type normaliser struct {
	client     *Client
	connection broker.Connection
	shape      broker.TokenRequest
	operation  operation

	token broker.TokenResponse // set when RoundTrip succeeded
	err   error                // set when it did not
}

// RoundTrip implements [http.RoundTripper].
func (n *normaliser) RoundTrip(standard *http.Request) (*http.Response, error) {
	n.token, n.err = n.roundTrip(standard)
	if n.err != nil {
		return nil, n.err
	}
	body, err := json.Marshal(map[string]string{"access_token": n.token.AccessToken.Reveal(), "token_type": "Bearer"})
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: http.StatusOK,
		Header:     http.Header{"Content-Type": {"application/json"}},
		Body:       io.NopCloser(bytes.NewReader(body)),
		Request:    standard,
	}, nil
}

func (n *normaliser) roundTrip(standard *http.Request) (broker.TokenResponse, error) {
	host := standard.URL.Host
	form, err := io.ReadAll(standard.Body)
	if err != nil {
		return broker.TokenResponse{}, n.operation.unanswered(host, broker.SentNever, errNoRequest)
	}
	params, err := url.ParseQuery(string(form))
	if err != nil {
		return broker.TokenResponse{}, n.operation.unanswered(host, broker.SentNever, errNoRequest)
	}
	inputs := inputsOf(n.connection)
	r, err := newRequest(standard.Context(), standard.URL.String(), n.shape, shapeParams(n.shape, params, inputs))
	if err != nil {
		return broker.TokenResponse{}, n.operation.unanswered(host, broker.SentNever, errNoRequest)
	}
	if proof := standard.Header.Get("Authorization"); proof != "" {
		r.Header.Set("Authorization", proof)
	}
	setHeaders(r, n.shape.Headers, inputs)
	if r, err = n.client.hookRequest(n.operation, n.connection, r); err != nil {
		return broker.TokenResponse{}, n.operation.unanswered("", broker.SentNever, err)
	}
	asked := time.Now() // a token lives from then on at the latest
	got, err := n.client.send(n.operation, r)
	if err != nil {
		return broker.TokenResponse{}, err
	}
	if got, err = n.client.hookResponse(r.Context(), n.operation, n.connection, got); err != nil {
		return broker.TokenResponse{}, n.operation.refused(host, got, "", err)
	}
	token, refused := readToken(n.operation.definition, got, asked)
	if refused != nil {
		code := cleanCode(refused.code, secretsIn(params, n.connection), knownCodes(n.operation.definition)...)
		return broker.TokenResponse{}, n.operation.refused(host, got, code, refused.err)
	}
	if n.operation.op == opExchangeToken {
		if err := checkIssuedType(got, params.Get("requested_token_type")); err != nil {
			return broker.TokenResponse{}, n.operation.refused(host, got, "", err)
		}
	}
	return token, nil
}

// failure returns why there is no token: the transport's reason, or that x/oauth2
// never came to it.
func (n *normaliser) failure(target string) error {
	if n.err != nil {
		return n.err
	}
	host := ""
	if u, err := url.Parse(target); err == nil {
		host = u.Host
	}
	return n.operation.unanswered(host, broker.SentNever, errNoRequest)
}

// secretsIn returns what of a request no error may repeat.
func secretsIn(params url.Values, k broker.Connection) []string {
	var out []string
	for _, secret := range []string{
		params.Get("code"), params.Get("code_verifier"), params.Get("refresh_token"), params.Get("token"),
		params.Get("access_token"), params.Get("client_assertion"), params.Get("assertion"), params.Get("device_code"),
		params.Get("subject_token"), params.Get("actor_token"), k.Client.Secret.Reveal(),
	} {
		if secret != "" {
			out = append(out, secret)
		}
	}
	return out
}

// knownCodes are the error codes that a definition names.
func knownCodes(d *broker.Definition) []string {
	return slices.Concat(d.TokenResponse.ReauthErrors, d.TokenResponse.ClientErrors)
}
