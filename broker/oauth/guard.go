package oauth

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"github.com/invectd/invectd/broker"
)

// A BlockedError reports an address that no request goes to. Nothing was sent.
type BlockedError struct {
	Address string
	Plain   bool // because `http:` was to be spoken, not because of the address
}

func (e *BlockedError) Error() string {
	if e.Plain {
		return fmt.Sprintf("http: is not spoken with %s, which is not among --allow-addresses; use https:", e.Address)
	}
	return fmt.Sprintf("%s is no public address; name it in --allow-addresses if the provider lives there", e.Address)
}

// A guard judges each address when it is dialled, after names were resolved, so
// that a name that resolves otherwise the second time gains nothing.
type guard struct{ allowed broker.Addresses }

// control has the shape of [net.Dialer.ControlContext].
func (g guard) control(ctx context.Context, network, address string, _ syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return &BlockedError{Address: network + " " + address}
	}
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return &BlockedError{Address: address}
	}
	plain, _ := ctx.Value(schemeKey{}).(string)
	return g.check(at.Addr(), plain == "http")
}

// check returns a [*BlockedError] for an address that must not be dialled.
func (g guard) check(addr netip.Addr, plain bool) error {
	// A prefix contains no address with a zone, and an IPv4 address is the same
	// one when it is written as IPv6.
	addr = addr.WithZone("").Unmap()
	if g.allowed.Allow(addr) {
		return nil
	}
	if !public(addr) {
		return &BlockedError{Address: addr.String()}
	}
	if plain {
		return &BlockedError{Address: addr.String(), Plain: true}
	}
	return nil
}

// public reports whether an unmapped address is one of the open internet.
func public(addr netip.Addr) bool {
	if !addr.IsValid() || addr.Is6() && !unicast6.Contains(addr) {
		return false
	}
	return !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// unicast6 is all of IPv6 that is assigned as global unicast. What is outside
// holds loopback, link-local, unique local, multicast, IPv4-mapped, NAT64 and
// all that is reserved.
var unicast6 = netip.MustParsePrefix("2000::/3")

// special are the blocks of the IANA special-purpose address registries (RFC
// 6890 and its updates) that are not globally reachable, or that lead to another
// address inside them.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),         // this network
	netip.MustParsePrefix("10.0.0.0/8"),        // private
	netip.MustParsePrefix("100.64.0.0/10"),     // carrier-grade NAT
	netip.MustParsePrefix("127.0.0.0/8"),       // loopback
	netip.MustParsePrefix("169.254.0.0/16"),    // link-local, metadata services
	netip.MustParsePrefix("172.16.0.0/12"),     // private
	netip.MustParsePrefix("192.0.0.0/24"),      // protocol assignments
	netip.MustParsePrefix("192.0.2.0/24"),      // documentation
	netip.MustParsePrefix("192.31.196.0/24"),   // AS112
	netip.MustParsePrefix("192.52.193.0/24"),   // AMT
	netip.MustParsePrefix("192.88.99.0/24"),    // 6to4 relays
	netip.MustParsePrefix("192.168.0.0/16"),    // private
	netip.MustParsePrefix("192.175.48.0/24"),   // AS112
	netip.MustParsePrefix("198.18.0.0/15"),     // benchmarks
	netip.MustParsePrefix("198.51.100.0/24"),   // documentation
	netip.MustParsePrefix("203.0.113.0/24"),    // documentation
	netip.MustParsePrefix("224.0.0.0/4"),       // multicast
	netip.MustParsePrefix("240.0.0.0/4"),       // reserved, broadcast
	netip.MustParsePrefix("2001::/23"),         // protocol assignments: Teredo, ORCHID, benchmarks
	netip.MustParsePrefix("2001:db8::/32"),     // documentation
	netip.MustParsePrefix("2002::/16"),         // 6to4
	netip.MustParsePrefix("2620:4f:8000::/48"), // AS112
	netip.MustParsePrefix("3fff::/20"),         // documentation
}
