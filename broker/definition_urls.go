package broker

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Addresses are the loopback and private addresses where providers may live,
// and `http:` may be spoken. Everywhere else it is `https:` and public
// addresses only. The zero value allows none.
type Addresses []netip.Prefix

// Allow reports whether addr is among them.
func (a Addresses) Allow(addr netip.Addr) bool {
	addr = addr.Unmap()
	return slices.ContainsFunc(a, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// allowHost reports whether a host is a literal allowed address, or localhost
// where loopback is allowed. Other names are judged when they are dialled.
func (a Addresses) allowHost(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return a.Allow(netip.MustParseAddr("127.0.0.1")) || a.Allow(netip.IPv6Loopback())
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && a.Allow(addr)
}

// maxURLLength is what browsers and servers agree to carry, in bytes.
const maxURLLength = 2048

func (c *definitionCheck) urls() {
	d := c.d
	for path, text := range d.endpoints() {
		c.url(path, text)
	}
	if d.Identity != nil && d.Identity.URL == "" {
		c.bad("identity.url", "give the URL that tests a token")
	}
	if d.Lookup != nil && d.Lookup.URL == "" {
		c.bad("lookup.url", "give the URL that is asked after connecting")
	}
	if strings.Contains(d.Issuer, "?") {
		c.bad("issuer", "must not have a query") // RFC 8414, section 2
	}
	if d.DocsURL != "" {
		if u, err := url.Parse(d.DocsURL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			c.bad("docsUrl", "give an http: or https: URL")
		}
	}
	if d.TokenRequest.URL != "" {
		c.bad("tokenRequest.url", "give it as tokenUrl")
	}
	for _, host := range d.APIHosts {
		c.placeholders("apiHosts", "https://"+host)
		if problem := c.allowed.hostProblem(placeholder.ReplaceAllString(host, "x")); problem != "" {
			c.bad("apiHosts", "%q %s; give a host name alone, like api.provider.example", host, problem)
		}
	}
}

// url checks one endpoint, which may hold placeholders.
func (c *definitionCheck) url(path, text string) {
	c.placeholders(path, text)
	// No host with an x in it is an address or localhost, so a placeholder in the
	// host is never taken for one of those that are allowed.
	sample := placeholder.ReplaceAllString(text, "x")
	u, err := url.Parse(sample)
	switch {
	case len(text) > maxURLLength:
		c.bad(path, "is longer than %d characters", maxURLLength)
	case strings.ContainsFunc(sample, notInURL):
		c.bad(path, "has a character that no URL has, or a brace that belongs to no {name}; escape it with %%, write a host name in its xn-- form")
	case err != nil || u.Hostname() == "":
		c.bad(path, "is no absolute URL; write it like https://provider.example/oauth/token")
	case u.User != nil || strings.Contains(sample, "#"):
		c.bad(path, "must not have a user or a fragment")
	case u.Scheme != "http" && u.Scheme != "https":
		c.bad(path, "must be https:")
	case u.Scheme == "http" && !c.allowed.allowHost(u.Hostname()):
		c.bad(path, "must be https:, unless its address is among --allow-addresses")
	case climbs(u.Path):
		c.bad(path, "must not have . or .. in its path")
	case !isPort(u.Port()):
		c.bad(path, "has no usable port")
	default:
		if problem := c.allowed.hostProblem(u.Hostname()); problem != "" {
			c.bad(path, "its host %s", problem)
		}
	}
}

// placeholders checks the {name}s in a URL. Whatever is part of a host chooses
// who receives secrets, so only an input with a pattern may, and neither what a
// provider answered nor a client id.
func (c *definitionCheck) placeholders(path, text string) {
	_, host, _, _ := splitURL(text)
	for _, m := range placeholder.FindAllStringSubmatch(text, -1) {
		match, name := m[0], m[1]
		input, known := c.d.Inputs[name]
		inHost := strings.Contains(host, match)
		switch {
		case !known && !c.d.Captures(name) && name != "client_id":
			c.bad(path, "uses %s, which is not among the inputs", match)
		case path == "authorizationUrl" && input.Callback != "":
			c.bad(path, "uses %s, which is not known before the redirect brings it", match)
		case inHost && known && len(input.Enum) > 0:
			if slices.ContainsFunc(input.Enum, func(value string) bool { return !isHostText(value) }) {
				c.bad("inputs."+name+".enum", "must have letters, digits, dots and dashes only, since %s is part of the host in %s", match, path)
			}
		case inHost && (!known || input.Pattern == ""):
			c.bad("inputs."+name+".pattern", "is needed, since %s is part of the host in %s", match, path)
		case inHost && !isHostPattern(input.Pattern):
			c.bad("inputs."+name+".pattern", "must match letters, digits, dots and dashes only, since %s is part of the host in %s", match, path)
		}
	}
}

// isHostPattern reports whether a pattern was written with host names in mind,
// which ".*" was not. [ExpandURL] does not rely on it.
func isHostPattern(pattern string) bool {
	re, err := wholePattern(pattern)
	if err != nil {
		return true // what is wrong with it is said elsewhere
	}
	for _, r := range `/?#@:\%[]&= é` {
		if re.MatchString("a"+string(r)+"a") || re.MatchString(string(r)) {
			return false
		}
	}
	return true
}

// hostProblem says what is wrong with a host, "" if nothing. What names resolve
// to is judged when they are dialled; here it is what can be seen at once.
func (a Addresses) hostProblem(host string) string {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	addr, err := netip.ParseAddr(name)
	local := name == "localhost" || strings.HasSuffix(name, ".localhost")
	switch {
	case err == nil && addr.Zone() != "":
		return "must not name a network interface"
	case err == nil && !a.Allow(addr) && (!addr.IsGlobalUnicast() || addr.IsPrivate()), local && !a.allowHost("localhost"):
		return "is a loopback, private or reserved address that is not among --allow-addresses"
	case err == nil:
		return ""
	case !isHostText(name) || len(name) > 253 || slices.Contains(strings.Split(name, "."), ""):
		return "is no host name"
	case endsInNumber(name):
		return "is a number that some programs take for an address"
	}
	return ""
}

// endsInNumber reports whether the last label is one that the URL standard of
// browsers reads as part of an IPv4 address: "2130706433" is 127.0.0.1.
func endsInNumber(name string) bool {
	label := name[strings.LastIndexByte(name, '.')+1:]
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

func isPort(port string) bool {
	if port == "" {
		return true
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// notInURL reports whether r is none of the characters of RFC 3986.
func notInURL(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"<>\\^`{|}", r)
}
