package oauth

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
)

// operations are all calls that go to a provider. Each returns its error, and
// asks the hostile URL alone, or where it takes two requests first an honest one.
var operations = map[string]func(ctx context.Context, c *Client, honest, hostile string) error{
	opExchange: func(ctx context.Context, c *Client, _, hostile string) error {
		_, err := c.Exchange(ctx, connection(hostile), broker.CodeExchange{Code: broker.NewSecret(canaryCode)})
		return err
	},
	opRefresh: func(ctx context.Context, c *Client, _, hostile string) error {
		_, err := c.Refresh(ctx, connection(hostile), broker.NewSecret(canaryRefresh))
		return err
	},
	opClientCredentials: func(ctx context.Context, c *Client, _, hostile string) error {
		_, err := c.ClientCredentials(ctx, connection(hostile), nil)
		return err
	},
	opLongLived: func(ctx context.Context, c *Client, honest, hostile string) error {
		k := connection(honest)
		k.Definition.LongLivedRequest.URL = hostile
		_, err := c.Exchange(ctx, k, broker.CodeExchange{Code: broker.NewSecret(canaryCode)})
		return err
	},
	opRevoke: func(ctx context.Context, c *Client, honest, hostile string) error {
		k := connection(honest)
		k.Definition.RevocationURL = hostile
		return c.Revoke(ctx, k, broker.NewSecret(canaryRefresh), "refresh_token")
	},
	opIdentify: func(ctx context.Context, c *Client, honest, hostile string) error {
		k := connection(honest)
		k.Definition.Identity = &broker.IdentityRequest{URL: hostile}
		_, err := c.Identify(ctx, k, broker.NewSecret(canaryAccess))
		return err
	},
	opDiscover: func(ctx context.Context, c *Client, _, hostile string) error {
		k := connection("")
		k.Definition.Issuer = hostile
		_, err := c.Refresh(ctx, k, broker.NewSecret(canaryRefresh))
		return err
	},
}

// patience is how long a client in these tests waits for an answer that hangs.
const patience = 500 * time.Millisecond

// A lie is an answer that leads elsewhere, or never comes to an end. One that
// hangs takes all the time that a client has for it.
type lie struct {
	name   string
	answer http.HandlerFunc
	hangs  bool
}

func (l lie) client(t *testing.T) *Client {
	config := Config{Addresses: loopback, Timeout: 20 * time.Second}
	if l.hangs {
		config.Timeout = patience
	}
	c := New(config)
	t.Cleanup(c.Close)
	return c
}

// bomb is 200 MB of nothing in a quarter of a megabyte or so.
var bomb = sync.OnceValue(func() []byte {
	var out bytes.Buffer
	w, _ := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	nothing := make([]byte, 1<<20)
	for range 200 {
		_, _ = w.Write(nothing) // into memory
	}
	_ = w.Close()
	return out.Bytes()
})

func lies(elsewhere string) []lie {
	padding := []byte(strings.Repeat(" ", 32<<10))
	endless := func(w io.Writer) {
		for {
			if _, err := w.Write(padding); err != nil {
				return
			}
		}
	}
	// trickle sends a byte at a time, so that the answer is always just coming.
	trickle := func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(patience / 20)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				io.WriteString(w, " ")
				http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				return
			}
		}
	}
	out := []lie{
		{"never-ending", func(w http.ResponseWriter, _ *http.Request) { endless(w) }, false},
		{"10 GB announced", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10000000000")
			endless(w)
		}, false},
		{"gzip bomb", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb()) // the client hangs up
		}, false},
		{"1xx without end", func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			for err == nil {
				_, err = io.WriteString(conn, "HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n")
			}
		}, false},
		{"silence", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, true},
		{"a byte at a time", trickle, true},
		{"an error a byte at a time", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			trickle(w, r)
		}, true},
		{"another place for the answer", func(w http.ResponseWriter, _ *http.Request) {
			for name, value := range map[string]string{"Content-Location": elsewhere, "Refresh": "0; url=" + elsewhere, "Link": "<" + elsewhere + ">; rel=preload", "Alt-Svc": `h2="` + elsewhere + `"`} {
				w.Header().Set(name, value)
			}
			w.WriteHeader(http.StatusMisdirectedRequest)
		}, false},
	}
	for _, status := range []int{301, 302, 303, 307, 308} {
		out = append(out, lie{fmt.Sprint("a redirect by ", status), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", elsewhere)
			w.WriteHeader(status)
		}, false})
	}
	return out
}

// TestNoOperationTrustsItsProvider is promise 18 for every call there is: each
// lie ends in an error, within the time and the memory that there is for it, and
// no other host hears of it.
func TestNoOperationTrustsItsProvider(t *testing.T) {
	other := record(t, saysJSON(goodAnswer))
	honest := record(t, saysJSON(goodAnswer))
	for _, lie := range lies(other.URL) {
		t.Run(lie.name, func(t *testing.T) {
			hostile := record(t, lie.answer)
			c := lie.client(t)
			ask := func(op string) {
				err := operations[op](t.Context(), c, honest.URL, hostile.URL)
				if failed := providerError(t, err); failed.Host != strings.TrimPrefix(hostile.URL, "http://") || failed.Timeout != lie.hangs {
					t.Errorf("%s = %v, want an error at the host that lied", op, err)
				}
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begun := time.Now()
			var all sync.WaitGroup
			for op := range operations {
				if lie.hangs {
					all.Go(func() { ask(op) })
				} else {
					ask(op)
				}
			}
			all.Wait()
			took := time.Since(begun)
			runtime.ReadMemStats(&after)
			if lie.hangs && took > patience+10*time.Second {
				t.Errorf("all operations took %v, want about %v", took, patience)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > uint64(len(operations))*(16<<20) {
				t.Errorf("%d operations allocated %d MiB, want less than 16 each", len(operations), used>>20)
			}
		})
	}
	if got := other.requests(); len(got) != 0 {
		t.Errorf("the other host was asked %d times, first %s, want never", len(got), got[0].URL)
	}
}

// TestLookupIsNotWorthAToken lets a lookup lie in every way: the token that was
// got is answered all the same, and nothing is captured.
func TestLookupIsNotWorthAToken(t *testing.T) {
	other := record(t, saysJSON(goodAnswer))
	honest := record(t, saysJSON(goodAnswer))
	for _, lie := range append(lies(other.URL),
		lie{"HTML", says(200, "text/html", "<html>"), false},
		lie{"an error", says(500, "application/json", `{"id":"x"}`), false},
		lie{"something else", saysJSON(`{"other":1}`), false},
	) {
		t.Run(lie.name, func(t *testing.T) {
			k := connection(honest.URL)
			k.Definition.Lookup = &broker.Lookup{URL: record(t, lie.answer).URL, Capture: map[string]string{"site": "id"}}
			begun := time.Now()
			token, err := lie.client(t).Refresh(t.Context(), k, broker.NewSecret(canaryRefresh))
			if err != nil || token.AccessToken.Empty() || len(token.Captured) != 0 {
				t.Errorf("Refresh() = %v, captured %v, want a token and nothing captured", err, token.Captured)
			}
			if took := time.Since(begun); took > lookupTimeout+10*time.Second {
				t.Errorf("Refresh() took %v, want at most %v for the lookup", took, lookupTimeout)
			}
		})
	}
	if got := other.requests(); len(got) != 0 {
		t.Errorf("the other host was asked %d times, want never", len(got))
	}
}

// TestCookiesAreNotKept makes sure that a provider cannot have a client carry
// anything from one request to the next.
func TestCookiesAreNotKept(t *testing.T) {
	provider := record(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Set-Cookie", "a=b; Path=/")
		saysJSON(goodAnswer)(w, nil)
	})
	c := newClient(t)
	for range 2 {
		if _, err := c.Refresh(t.Context(), connection(provider.URL), broker.NewSecret(canaryRefresh)); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range provider.requests() {
		if got := r.Header.Get("Cookie"); got != "" {
			t.Errorf("a request has the cookie %q, want none", got)
		}
	}
}

// TestRequestsByGETAreSentOnce takes a connection away as soon as it is used
// again: net/http would repeat a GET, which may hold a code that is good once.
func TestRequestsByGETAreSentOnce(t *testing.T) {
	provider := record(t, nil)
	var asked atomic.Int64
	provider.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			saysJSON(goodAnswer)(w, r)
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		conn.Close()
	})
	k := connection(provider.URL)
	k.Definition.TokenRequest = broker.TokenRequest{Method: "GET", Format: "query"}
	c := newClient(t)
	if _, err := c.Refresh(t.Context(), k, broker.NewSecret(canaryRefresh)); err != nil {
		t.Fatalf("Refresh() = %v", err)
	}
	_, err := c.Refresh(t.Context(), k, broker.NewSecret(canaryRefresh))
	if failed := providerError(t, err); failed.Sent != broker.SentUnknown || asked.Load() != 2 {
		t.Errorf("Refresh() = %v with Sent %v after %d requests, want one whose outcome is unknown after 2", err, failed.Sent, asked.Load())
	}
}

// TestMoments reads the times that vendors write for the end of a token.
func TestMoments(t *testing.T) {
	end := time.Now().Add(20 * time.Minute).Truncate(time.Second)
	for name, value := range map[string]string{
		"RFC 3339":     fmt.Sprintf("%q", end.UTC().Format(time.RFC3339)),
		"with a zone":  fmt.Sprintf("%q", end.In(time.FixedZone("", 3600)).Format(time.RFC3339)),
		"seconds":      fmt.Sprint(end.Unix()),
		"milliseconds": fmt.Sprint(end.UnixMilli()),
		"text":         fmt.Sprintf(`"%d"`, end.Unix()),
	} {
		provider := record(t, saysJSON(`{"access_token":"a","until":`+value+`}`))
		k := connection(provider.URL)
		k.Definition.TokenResponse.ExpiresAt = broker.Paths{"until"}
		token, err := refreshAt(t, k)
		if off := token.ExpiresAt.Sub(end); err != nil || off > 2*time.Second || off < -2*time.Second {
			t.Errorf("Refresh() of %s has a token until %v, %v, want %v", name, token.ExpiresAt, err, end)
		}
	}
	for name, value := range map[string]string{"word": `"soon"`, "null": "null", "list": "[1]"} {
		provider := record(t, saysJSON(`{"access_token":"a","until":`+value+`}`))
		k := connection(provider.URL)
		k.Definition.TokenResponse.ExpiresAt = broker.Paths{"until"}
		if token, err := refreshAt(t, k); err != nil || !token.ExpiresAt.IsZero() {
			t.Errorf("Refresh() of a %s has a token until %v, %v, want no end", name, token.ExpiresAt, err)
		}
	}
}

// TestAuthorizationURLIsTheVendors renames, replaces and leaves out what an
// authorization URL has, and never the state.
func TestAuthorizationURLIsTheVendors(t *testing.T) {
	k := connection("https://acme.example/token")
	k.Definition.AdditionalAuthParams = map[string]string{"nonce": "{random}"}
	nonces := map[string]bool{}
	for kind, want := range map[string]string{"": "code", "none": "", "code id_token": "code id_token"} {
		k.Definition.AuthorizationRequest = broker.AuthorizationRequestShape{
			ResponseType: kind, Rename: map[string]string{"client_id": "client_key", "redirect_uri": "redirectUri"},
		}
		got, err := newClient(t).AuthorizationURL(t.Context(), k, broker.AuthorizationRequest{RedirectURI: "https://front.example/", State: "s"})
		u, parseErr := url.Parse(got)
		if err != nil || parseErr != nil {
			t.Fatalf("AuthorizationURL() = %q, %v", got, err)
		}
		q := u.Query()
		if q.Get("response_type") != want || q.Get("client_key") != "client id" || q.Get("redirectUri") != "https://front.example/" ||
			q.Get("state") != "s" || q.Has("client_id") || q.Has("redirect_uri") || len(q.Get("nonce")) < 20 {
			t.Errorf("AuthorizationURL(%q) = %s, want response_type %q and the vendor's names", kind, got, want)
		}
		nonces[q.Get("nonce")] = true
	}
	if len(nonces) != 3 {
		t.Errorf("three URLs have %d nonces, want 3", len(nonces))
	}
}
