package broker

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A definition says where secrets go, so whoever changes one could have them
// sent to himself. Each credential and each registered app therefore remembers
// the origins (RFC 6454) of the definition that it was authorised with, and
// nothing of it is sent to another until the operator accepts that.

// endpoints are the URLs of a definition by field, placeholders included: those
// that get secrets, and the consent page.
func (d *Definition) endpoints() map[string]string {
	urls := map[string]string{
		"authorizationUrl": d.AuthorizationURL, "tokenUrl": d.TokenURL, "issuer": d.Issuer,
		"refreshRequest.url": d.RefreshRequest.URL, "longLivedRequest.url": d.LongLivedRequest.URL, "revocationUrl": d.RevocationURL,
		"introspectionUrl": d.IntrospectionURL, "deviceAuthorizationUrl": d.DeviceAuthorizationURL,
	}
	if d.Identity != nil {
		urls["identity.url"] = d.Identity.URL
	}
	if d.Lookup != nil {
		urls["lookup.url"] = d.Lookup.URL
	}
	maps.DeleteFunc(urls, func(_, url string) bool { return url == "" })
	return urls
}

// tokenURLs are where refresh tokens go. What an issuer publishes is its own
// affair, so it stands for what is discovered there.
func (d *Definition) tokenURLs() []string {
	urls := []string{cmp.Or(d.TokenURL, d.Issuer)}
	if d.RefreshRequest.URL != "" {
		urls = append(urls, d.RefreshRequest.URL)
	}
	return urls
}

// origins returns the origins of all endpoints and API hosts, separated by
// spaces. Placeholders without an input stay as they are.
func (d *Definition) origins(inputs map[string]string) string {
	all := []string{}
	for _, url := range d.endpoints() {
		all = append(all, originOf(url, inputs))
	}
	for _, host := range d.APIHosts {
		all = append(all, originOf("https://"+host, inputs))
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), " ")
}

// originOf returns the origin of a URL template, in lower case and without the
// port that its scheme implies.
func originOf(template string, inputs map[string]string) string {
	scheme, host, _, _ := splitURL(template)
	origin := strings.ToLower(scheme + "://" + Expand(host, inputs))
	if port, ok := map[string]string{"https": ":443", "http": ":80"}[scheme]; ok {
		origin = strings.TrimSuffix(origin, port)
	}
	return origin
}

// among reports whether an origin is one of origins, "" being all.
func among(origins, origin string) bool {
	return origins == "" || slices.Contains(strings.Fields(origins), origin)
}

// Origins are those that the connection's definition names.
func (c Connection) Origins() string { return c.Definition.origins(c.Inputs) }

// Trusts reports whether secrets may be sent to a URL: where the credential, or
// the registered app, was authorised with its origin.
func (c Connection) Trusts(url string) bool { return among(c.Trusted, originOf(url, nil)) }

// TrustAlso returns c with the origins of URLs that a trusted issuer publishes.
func (c Connection) TrustAlso(urls ...string) Connection {
	for _, url := range urls {
		if url != "" && c.Trusted != "" {
			c.Trusted += " " + originOf(url, nil)
		}
	}
	return c
}

// trustsNone is what no origin is among.
const trustsNone = "none"

// within restricts a connection to what its credential and, where its client is
// the app's, the app were authorised with.
func (c Connection) within(origins string, app *App) Connection {
	appOrigins, appInputs := "", map[string]string(nil)
	if app != nil {
		appOrigins, appInputs = app.Origins, c.Definition.appInputs(app)
	}
	if origins == "" && appOrigins == "" {
		return c
	}
	trusted := []string{trustsNone}
	for _, url := range c.Definition.endpoints() {
		origin := originOf(url, c.Inputs)
		if among(origins, origin) && among(appOrigins, originOf(url, appInputs)) {
			trusted = append(trusted, origin)
		}
	}
	c.Trusted = strings.Join(trusted, " ")
	return c
}

// appFollows reports whether the app was authorised with the token hosts of d.
func (d *Definition) appFollows(app *App) bool {
	for _, url := range d.tokenURLs() {
		if !among(app.Origins, originOf(url, d.appInputs(app))) {
			return false
		}
	}
	return true
}

// appInputs are the inputs that an app gives or nobody needs to give. The rest
// are each connection's own.
func (d *Definition) appInputs(app *App) map[string]string {
	inputs := map[string]string{}
	for name, input := range d.Inputs {
		if value := cmp.Or(input.strip(app.Inputs[name]), input.Default); value != "" {
			inputs[name] = value
		}
	}
	return inputs
}

// checkTokenHost returns an [*InvalidError] where the definition in force would
// have a refresh token, or the client's secret, sent to a host that whose was not
// authorised with.
func (c Connection) checkTokenHost(whose string) error {
	for _, url := range c.Definition.tokenURLs() {
		if origin := originOf(url, c.Inputs); !among(c.Trusted, origin) {
			return &InvalidError{
				Message: fmt.Sprintf("the definition of %s now names the token host %s, which %s was not authorised with, so nothing is sent there; if that is right: invectd providers accept %s",
					c.Definition.ID, origin, whose, c.Definition.ID),
				Fields: []FieldError{{"tokenUrl", "names a host that the operator has to accept"}},
			}
		}
	}
	return nil
}
