package oauth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/invectd/invectd/broker"
)

func TestGuardAddresses(t *testing.T) {
	blocked := []string{
		// IPv4
		"0.0.0.0", "0.0.0.1", "0.255.255.255", "10.0.0.0", "10.1.2.3", "10.255.255.255",
		"100.64.0.0", "100.100.100.200", "100.127.255.255", "127.0.0.1", "127.0.0.53", "127.255.255.255",
		"169.254.0.1", "169.254.169.254", "169.254.170.2", "172.16.0.0", "172.31.255.255",
		"192.0.0.1", "192.0.0.170", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.1", "192.168.255.255",
		"198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9",
		"224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.254", "255.255.255.255",
		// IPv6
		"::", "::1", "::2", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1", "fc00::1", "fd00:ec2::254", "fdff:ffff::1",
		"ff02::1", "ff0e::1", "100::1", "100:0:0:1::1", "5f00::1", "4000::1", "1::1",
		"2001:db8::1", "3fff::1", "3fff:fff::1", "2001:10::1", "2001:20::1", "2001:2::1",
		// IPv4 within IPv6: mapped, compatible, translated, NAT64, 6to4, Teredo, ISATAP
		"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1", "::127.0.0.1", "::7f00:1",
		"64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::8.8.8.8", "64:ff9b:1::a00:1",
		"2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:808:808::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001::1", "fe80::5efe:a00:1",
	}
	for _, text := range blocked {
		err := guard{}.check(netip.MustParseAddr(text), false)
		if failed, ok := errors.AsType[*BlockedError](err); !ok || failed.Plain {
			t.Errorf("check(%s) = %v, want it blocked", text, err)
		}
	}
	open := []string{
		"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.1",
		"169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.1", "192.167.255.255", "192.169.0.0",
		"198.17.255.255", "198.20.0.0", "223.255.255.255", "::ffff:8.8.8.8",
		"2606:4700:4700::1111", "2a00:1450:4001::1", "2001:4860:4860::8888", "2001:200::1", "2003::1", "2600::1",
	}
	for _, text := range open {
		if err := (guard{}).check(netip.MustParseAddr(text), false); err != nil {
			t.Errorf("check(%s) = %v, want nil", text, err)
		}
		if failed, ok := errors.AsType[*BlockedError](guard{}.check(netip.MustParseAddr(text), true)); !ok || !failed.Plain {
			t.Errorf("check(%s) of http: = %v, want it blocked for that", text, failed)
		}
	}
	if len(blocked)+len(open) < 60 {
		t.Errorf("only %d addresses", len(blocked)+len(open))
	}
}

func TestGuardAllows(t *testing.T) {
	g := guard{broker.Addresses{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("fe80::/10")}}
	for text, want := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "10.2.0.1": false, "::1": true, "127.0.0.1": false,
		"64:ff9b::7f00:1": true, "fe80::1%eth0": true, "fc00::1": false,
	} {
		for _, plain := range []bool{false, true} {
			if got := g.check(netip.MustParseAddr(text), plain) == nil; got != want {
				t.Errorf("check(%s, http: %v) allowed = %v, want %v", text, plain, got, want)
			}
		}
	}
}

func TestGuardControl(t *testing.T) {
	for _, test := range []struct{ network, address string }{
		{"tcp4", "127.0.0.1:443"}, {"tcp6", "[::1]:443"}, {"tcp6", "[fe80::1%1]:443"}, {"udp4", "8.8.8.8:443"}, {"tcp", "localhost:443"}, {"unix", "/run/x"},
	} {
		err := guard{}.control(t.Context(), test.network, test.address, nil)
		if _, ok := errors.AsType[*BlockedError](err); !ok {
			t.Errorf("control(%s, %s) = %v, want it blocked", test.network, test.address, err)
		}
	}
	if err := (guard{}).control(withScheme(t.Context(), "https"), "tcp4", "8.8.8.8:443", nil); err != nil {
		t.Errorf("control of a public address = %v, want nil", err)
	}
	if err := (guard{}).control(withScheme(t.Context(), "http"), "tcp4", "8.8.8.8:80", nil); err == nil {
		t.Error("control of http: with a public address = nil, want it blocked")
	}
}

// TestWaysToWriteLoopback asks hosts that resolvers or URL parsers may take for
// loopback. None reaches the server that listens there.
func TestWaysToWriteLoopback(t *testing.T) {
	server := record(t, saysJSON(goodAnswer))
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := New(Config{Timeout: 2 * time.Second})
	defer c.Close()
	for _, host := range []string{
		"127.0.0.1", "localhost", "LOCALHOST", "localhost.", "127.0.0.1.", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0", "0.0.0.0",
		"[::]", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "①②⑦.0.0.1", "127。0。0。1",
	} {
		for _, scheme := range []string{"http", "https"} {
			_, err := c.Refresh(t.Context(), connection(fmt.Sprintf("%s://%s:%s/", scheme, host, port)), broker.NewSecret(canaryRefresh))
			noCanary(t, err)
			if err == nil {
				t.Errorf("Refresh at %s://%s succeeded", scheme, host)
			}
			if failed, ok := errors.AsType[*broker.ProviderError](err); ok && failed.Sent != broker.SentNever {
				t.Errorf("Refresh at %s://%s = %+v, want Sent never", scheme, host, *failed)
			}
		}
	}
	if got := len(server.requests()); got != 0 {
		t.Errorf("requests = %d, want none", got)
	}
}

// TestRebinding gives a name an allowed address first and a forbidden one ever
// after, as an attacker's name server does.
func TestRebinding(t *testing.T) {
	first, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Skip("no second loopback address:", err)
	}
	honest := httptest.NewUnstartedServer(saysJSON(goodAnswer))
	honest.Listener.Close()
	honest.Listener = first
	honest.Config.SetKeepAlivesEnabled(false)
	honest.Start()
	defer honest.Close()
	_, port, _ := net.SplitHostPort(first.Addr().String())
	second, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Skip("the port is taken:", err)
	}
	var reached atomic.Int64
	victim := &httptest.Server{Listener: second, Config: &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) })}}
	victim.Start()
	defer victim.Close()

	resolver := nameServer(t, [][4]byte{{127, 0, 0, 2}, {127, 0, 0, 1}})
	dialer := &net.Dialer{Resolver: resolver, ControlContext: guard{broker.Addresses{netip.MustParsePrefix("127.0.0.2/32")}}.control}
	c := New(Config{Dial: dialer.DialContext})
	defer c.Close()
	k := connection("http://rebind.example:" + port)
	if _, err := c.Refresh(t.Context(), k, broker.NewSecret(canaryRefresh)); err != nil {
		t.Fatalf("Refresh at the allowed address = %v", err)
	}
	_, err = c.Refresh(t.Context(), k, broker.NewSecret(canaryRefresh))
	if blocked, ok := errors.AsType[*BlockedError](err); !ok || blocked.Address != "127.0.0.1" {
		t.Errorf("Refresh after rebinding = %v, want 127.0.0.1 blocked", err)
	}
	if providerError(t, err).Sent != broker.SentNever || reached.Load() != 0 {
		t.Errorf("Sent, requests = %v, %d, want never and none", providerError(t, err).Sent, reached.Load())
	}
}

// nameServer returns a resolver whose answers are the addresses in turn, the
// last for ever.
func nameServer(t *testing.T, addresses [][4]byte) *net.Resolver {
	t.Helper()
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	go func() {
		buffer := make([]byte, 1500)
		for {
			n, from, err := socket.ReadFrom(buffer)
			if err != nil {
				return
			}
			var query dnsmessage.Message
			if query.Unpack(buffer[:n]) != nil {
				continue
			}
			answer := dnsmessage.Message{Header: dnsmessage.Header{ID: query.ID, Response: true, Authoritative: true}, Questions: query.Questions}
			if q := query.Questions[0]; q.Type == dnsmessage.TypeA {
				answer.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
					Body:   &dnsmessage.AResource{A: addresses[0]},
				}}
				addresses = addresses[min(1, len(addresses)-1):]
			}
			packed, err := answer.Pack()
			if err != nil {
				continue
			}
			socket.WriteTo(packed, from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", strings.TrimSpace(socket.LocalAddr().String()))
	}}
}
