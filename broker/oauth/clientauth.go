package oauth

import (
	"crypto/tls"
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/oauth2"

	"github.com/invectd/invectd/broker"
)

const jwtBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" // RFC 7523, section 2.2

// A proof is how a client proves itself in one request.
type proof struct {
	style     oauth2.AuthStyle // fixed: never guessed by trying
	secret    string
	params    url.Values        // an assertion
	transport http.RoundTripper // with the client's certificate, where that is the proof
}

// authenticate makes the proof that the definition asks for. Without a secret a
// client is a public one, whatever the definition says of secrets. audience is
// the URL that is asked.
func (c *Client) authenticate(k broker.Connection, audience string) (proof, error) {
	p := proof{style: oauth2.AuthStyleInParams, transport: c.transport}
	switch k.Definition.ClientAuthentication {
	case broker.ClientAuthNone:
	case broker.ClientSecretBasic:
		if p.secret = k.Client.Secret.Reveal(); p.secret != "" {
			p.style = oauth2.AuthStyleInHeader
		}
	case broker.ClientSecretJWT, broker.PrivateKeyJWT:
		assertion, err := newAssertion(k, audience, c.clocks.at(hostOf(audience), time.Now()))
		if err != nil {
			return proof{}, err
		}
		p.params = url.Values{"client_assertion_type": {jwtBearer}, "client_assertion": {assertion}}
	case broker.TLSClientAuth:
		certificate, err := tls.X509KeyPair([]byte(k.Client.Certificate), []byte(k.Client.PrivateKey.Reveal()))
		if err != nil {
			return proof{}, invalid("certificate", "give a PEM certificate and the privateKey that belongs to it")
		}
		own := c.transport.Clone()
		own.TLSClientConfig.Certificates = []tls.Certificate{certificate}
		own.DisableKeepAlives = true // so that nothing is left behind
		p.transport = own
	default:
		p.secret = k.Client.Secret.Reveal()
	}
	return p, nil
}

// apply puts the proof into a request that x/oauth2 does not write, and returns
// its Authorization header, "" for none.
func (p proof) apply(clientID string, params url.Values) string {
	maps.Copy(params, p.params)
	if p.style == oauth2.AuthStyleInHeader {
		// RFC 6749, section 2.3.1: both are form-encoded first.
		pair := url.QueryEscape(clientID) + ":" + url.QueryEscape(p.secret)
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(pair))
	}
	params.Set("client_id", clientID)
	params.Set("client_secret", p.secret)
	return ""
}
