package oauth

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/invectd/invectd/broker"
)

// shapeOf returns how a definition wants a token request: tokenRequest, and for
// a refresh what refreshRequest changes of it, entry by entry, as longLivedRequest
// does for that. Its URL is never empty where the definition has a token endpoint.
func shapeOf(d *broker.Definition, op string) broker.TokenRequest {
	shape := d.TokenRequest
	shape.URL = d.TokenURL
	var own broker.TokenRequest
	switch op {
	case opRefresh:
		own = d.RefreshRequest
	case opLongLived:
		own = d.LongLivedRequest
	default:
		return shape
	}
	return broker.TokenRequest{
		URL:     cmp.Or(own.URL, shape.URL),
		Method:  cmp.Or(own.Method, shape.Method),
		Format:  cmp.Or(own.Format, shape.Format),
		Headers: merged(shape.Headers, own.Headers),
		Params:  merged(shape.Params, own.Params),
		Rename:  merged(shape.Rename, own.Rename),
	}
}

func merged[V any](base, over map[string]V) map[string]V {
	out := make(map[string]V, len(base)+len(over))
	maps.Copy(out, base)
	maps.Copy(out, over)
	return out
}

// inputsOf returns the values of {name}: the inputs, the client's id, and what no
// other request has, as a nonce wants it.
func inputsOf(k broker.Connection) map[string]string {
	return merged(k.Inputs, map[string]string{"client_id": k.Client.ID, "random": rand.Text()})
}

// expandURL puts the inputs into the URL of one field of the definition.
func expandURL(field, template string, k broker.Connection) (string, error) {
	expanded, err := broker.ExpandURL(template, inputsOf(k))
	if err != nil {
		return "", err
	}
	if u, err := url.Parse(expanded); err != nil || u.Host == "" {
		return "", invalid(field, k.Definition.ID+" has no URL there that can be used with these inputs")
	}
	// The last look before a secret is sent.
	if field != "authorizationUrl" && !k.Trusts(expanded) {
		return "", invalid(field, "names "+hostOf(expanded)+", which the credential was not authorised with; if that is right: invectd providers accept "+k.Definition.ID)
	}
	return expanded, nil
}

func invalid(path, message string) error {
	return &broker.InvalidError{
		Message: path + ": " + message,
		Fields:  []broker.FieldError{{Path: path, Message: message}},
	}
}

// shapeParams turns the parameters of RFC 6749 into the vendor's. Empty ones are
// left out.
func shapeParams(shape broker.TokenRequest, standard url.Values, inputs map[string]string) map[string]string {
	params := map[string]string{}
	for name := range standard {
		params[name] = standard.Get(name)
	}
	for name, value := range shape.Params {
		if value == nil {
			delete(params, name)
			continue
		}
		params[name] = broker.Expand(*value, inputs)
	}
	out := map[string]string{}
	for name, value := range params {
		if value != "" {
			out[cmp.Or(shape.Rename[name], name)] = value
		}
	}
	return out
}

// newRequest writes a request in the format of a shape, without its headers.
func newRequest(ctx context.Context, target string, shape broker.TokenRequest, params map[string]string) (*http.Request, error) {
	values := url.Values{}
	for name, value := range params {
		values.Set(name, value)
	}
	var body []byte
	contentType := "application/x-www-form-urlencoded"
	switch shape.Format {
	case "json":
		contentType = "application/json"
		var err error
		if body, err = json.Marshal(params); err != nil {
			return nil, err
		}
	case "query":
	default:
		body = []byte(values.Encode())
	}
	r, err := http.NewRequestWithContext(ctx, cmp.Or(shape.Method, http.MethodPost), target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if r.Method == http.MethodGet {
		// net/http takes it for one that may be sent twice unless it has a body,
		// and what is in it may be good for one time only.
		r.Body = io.NopCloser(bytes.NewReader(nil))
	}
	if shape.Format == "query" {
		r.URL.RawQuery = strings.TrimPrefix(r.URL.RawQuery+"&"+values.Encode(), "&")
	} else {
		r.Header.Set("Content-Type", contentType)
	}
	return r, nil
}

func setHeaders(r *http.Request, headers, inputs map[string]string) {
	for name, value := range headers {
		r.Header.Set(name, broker.Expand(value, inputs))
	}
}
