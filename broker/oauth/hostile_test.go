package oauth

import (
	"bufio"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
)

// TestAnswers reads what an endpoint may say, honest and not.
func TestAnswers(t *testing.T) {
	jwt := func(claims string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
	}
	inAnHour := fmt.Sprint(time.Now().Add(time.Hour).Unix())
	const never = -1 * time.Second
	for _, test := range []struct {
		name, body string
		life       time.Duration // of the token, where it is taken
		err        error         // where it is not
	}{
		{"plain", `{"access_token":"a","expires_in":3600}`, time.Hour, nil},
		{"white space around", " \r\n{\"access_token\":\"a\",\"expires_in\":3600}\n ", time.Hour, nil},
		{"unknown fields", `{"access_token":"a","expires_in":1,"x":{"y":[1,2,{"z":null}]},"id_token":false}`, time.Second, nil},
		{"no token_type", `{"access_token":"a","expires_in":1}`, time.Second, nil},
		{"unknown token_type", `{"access_token":"a","expires_in":1,"token_type":{"x":1}}`, time.Second, nil},
		{"no expires_in", `{"access_token":"a"}`, never, nil},
		{"expires_in null", `{"access_token":"a","expires_in":null}`, never, nil},
		{"expires_in empty", `{"access_token":"a","expires_in":""}`, never, nil},
		{"expires_in 0", `{"access_token":"a","expires_in":0}`, 0, nil},
		{"expires_in negative", `{"access_token":"a","expires_in":-5}`, 0, nil},
		{"expires_in string", `{"access_token":"a","expires_in":"600"}`, 10 * time.Minute, nil},
		{"expires_in float", `{"access_token":"a","expires_in":599.9}`, 599 * time.Second, nil},
		{"expires_in exponent", `{"access_token":"a","expires_in":6e2}`, 10 * time.Minute, nil},
		{"expires_in huge", `{"access_token":"a","expires_in":99999999999999999999}`, maxLifetime, nil},
		{"expires_in beyond float64", `{"access_token":"a","expires_in":1e400}`, maxLifetime, nil},
		{"expires_in word", `{"access_token":"a","expires_in":"soon"}`, unreadableLifetime, nil},
		{"expires_in NaN", `{"access_token":"a","expires_in":"NaN"}`, unreadableLifetime, nil},
		{"expires_in hex", `{"access_token":"a","expires_in":"0x10"}`, unreadableLifetime, nil},
		{"expires_in true", `{"access_token":"a","expires_in":true}`, unreadableLifetime, nil},
		{"expires_in list", `{"access_token":"a","expires_in":[1]}`, unreadableLifetime, nil},
		{"JWT", `{"access_token":"` + jwt(`{"exp":`+inAnHour+`}`) + `"}`, time.Hour, nil},
		{"JWT and expires_in", `{"access_token":"` + jwt(`{"exp":`+inAnHour+`}`) + `","expires_in":60}`, time.Minute, nil},
		{"JWT of the past", `{"access_token":"` + jwt(`{"exp":1}`) + `"}`, 0, nil},
		{"JWT of the far future", `{"access_token":"` + jwt(`{"exp":1e300}`) + `"}`, maxLifetime, nil},
		{"JWT without exp", `{"access_token":"` + jwt(`{}`) + `"}`, never, nil},
		{"no JWT with dots", `{"access_token":"a.b.c"}`, never, nil},

		{"empty", ``, 0, errNotJSON},
		{"HTML", `<html>` + canaryRefresh + `</html>`, 0, errNotJSON},
		{"truncated", `{"access_token":"` + canaryAccess, 0, errNotJSON},
		{"list", `[{"access_token":"a"}]`, 0, errNoAccessToken},
		{"string", `"` + canaryAccess + `"`, 0, errNoAccessToken},
		{"null", `null`, 0, errNoAccessToken},
		{"trailing comma", `{"access_token":"a",}`, 0, errNotJSON},
		{"trailing object", `{"access_token":"a"}{"access_token":"b"}`, 0, errNotJSON},
		{"byte order mark", "\ufeff" + `{"access_token":"a"}`, 0, errNotJSON},
		{"no UTF-8", "{\"access_token\":\"a\",\"x\":\"\xff\"}", 0, errNotJSON},
		{"UTF-16", "{\x00}\x00", 0, errNotJSON},
		{"too deep", `{"access_token":"a","x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, 0, errNotJSON},
		{"name twice", `{"access_token":"a","access_token":"` + canaryAccess + `"}`, 0, errDuplicate},
		{"name twice, escaped", `{"access_token":"a","access\u005ftoken":"b"}`, 0, errDuplicate},
		{"name twice, inside", `{"access_token":"a","x":{"y":1,"y":2}}`, 0, errDuplicate},
		{"no token", `{}`, 0, errNoAccessToken},
		{"token null", `{"access_token":null}`, 0, errNoAccessToken},
		{"token empty", `{"access_token":""}`, 0, errNoAccessToken},
		{"token in capitals", `{"ACCESS_TOKEN":"a"}`, 0, errNoAccessToken},
		{"token number", `{"access_token":12}`, 0, errBadToken},
		{"token list", `{"access_token":["a"]}`, 0, errBadToken},
		{"token with a new line", `{"access_token":"a\r\nX-Evil: 1"}`, 0, errBadToken},
		{"token with NUL", `{"access_token":"a\u0000"}`, 0, errBadToken},
		{"token with a space", `{"access_token":"a b"}`, 0, errBadToken},
		{"token with ü", `{"access_token":"ü"}`, 0, errBadToken},
		{"token with half a surrogate", `{"access_token":"\ud800"}`, 0, errBadToken},
		{"refresh token with a new line", `{"access_token":"a","refresh_token":"b\n"}`, 0, errBadToken},
		{"refresh token object", `{"access_token":"a","refresh_token":{}}`, 0, errBadToken},
		{"error object in 200", `{"error":{"message":"` + canaryRefresh + `"},"access_token":"a"}`, 0, errSaysFailed},
	} {
		t.Run(test.name, func(t *testing.T) {
			provider := record(t, saysJSON(test.body))
			start := time.Now()
			token, err := refreshAt(t, connection(provider.URL))
			if test.err != nil {
				failed := providerError(t, err)
				if !errors.Is(err, test.err) || failed.Status != 200 || failed.Sent != broker.SentAnswered || failed.Reauth {
					t.Errorf("Refresh = %v, want %v", err, test.err)
				}
				if !token.AccessToken.Empty() {
					t.Error("an error came with a token")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if test.life == never {
				if !token.ExpiresAt.IsZero() {
					t.Errorf("ExpiresAt = %v, want never", token.ExpiresAt)
				}
				return
			}
			if off := token.ExpiresAt.Sub(start.Add(test.life)); off < -2*time.Second || off > 2*time.Second {
				t.Errorf("ExpiresAt = %v, want %v from %v", token.ExpiresAt, test.life, start)
			}
		})
	}
}

func TestAbsentRefreshToken(t *testing.T) {
	for _, field := range []string{``, `,"refresh_token":null`, `,"refresh_token":""`, `,"refresh_token":false`} {
		provider := record(t, saysJSON(`{"access_token":"a"`+field+`}`))
		token, err := refreshAt(t, connection(provider.URL))
		if err != nil || !token.RefreshToken.Empty() {
			t.Errorf("refresh token of an answer with %q: empty = %v, %v, want none", field, token.RefreshToken.Empty(), err)
		}
	}
}

func TestDefaultExpiresIn(t *testing.T) {
	provider := record(t, saysJSON(`{"access_token":"a"}`))
	k := connection(provider.URL)
	k.Definition.TokenResponse.DefaultExpiresIn = 120
	token, err := refreshAt(t, k)
	if left := time.Until(token.ExpiresAt); err != nil || left > 2*time.Minute || left < 110*time.Second {
		t.Errorf("Refresh = expiry in %v, %v, want the definition's two minutes", left, err)
	}
}

func TestErrorAnswers(t *testing.T) {
	for _, test := range []struct {
		name        string
		status      int
		contentType string
		body        string
		want        broker.ProviderError
	}{
		{"invalid_grant", 400, "application/json", `{"error":"invalid_grant","error_description":"` + canaryRefresh + `"}`, broker.ProviderError{Code: "invalid_grant", Reauth: true}},
		{"own reauth code", 403, "application/json", `{"error":"gone_for_good"}`, broker.ProviderError{Code: "gone_for_good", Reauth: true}},
		{"invalid_client", 401, "application/json", `{"error":"invalid_client"}`, broker.ProviderError{Code: "invalid_client", Client: true}},
		{"in a 200", 200, "application/json", `{"error":"bad_verification_code","access_token":"a"}`, broker.ProviderError{Code: "bad_verification_code"}},
		{"in a form in a 200", 200, "application/x-www-form-urlencoded", `error=bad_refresh_token&error_description=x`, broker.ProviderError{Code: "bad_refresh_token"}},
		{"HTML", 502, "text/html", `<h1>` + canaryRefresh + `</h1>`, broker.ProviderError{}},
		{"empty", 503, "", ``, broker.ProviderError{}},
		{"code echoes the secret", 400, "application/json", `{"error":"` + canaryRefresh + ` is bad"}`, broker.ProviderError{}},
		{"code echoes the client secret", 400, "application/json", `{"error":"canary-client-secret/+ü"}`, broker.ProviderError{}},
		{"code with control characters", 400, "application/json", `{"error":"inva\r\n\u001blid_\"grant\\"}`, broker.ProviderError{}},
		{"code too long", 400, "application/json", `{"error":"` + strings.Repeat("x", 1000) + `"}`, broker.ProviderError{}},
		{"code echoes the Basic header", 400, "application/json", `{"error":"Y2lkOkNTLUNBTkFSWQ=="}`, broker.ProviderError{}},
		{"code is half a token", 400, "application/json", `{"error":"` + canaryRefresh[:20] + `"}`, broker.ProviderError{}},
		{"vendor's own that looks like none", 400, "application/json", `{"error":"BAD-Token 1"}`, broker.ProviderError{Code: "BAD-Token 1", Reauth: true}},
		{"numeric code", 400, "application/json", `{"error":40029}`, broker.ProviderError{Code: "40029"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			provider := record(t, says(test.status, test.contentType, test.body))
			k := connection(provider.URL)
			k.Definition.TokenResponse.ReauthErrors = []string{"gone_for_good", "BAD-Token 1"}
			_, err := refreshAt(t, k)
			got := *providerError(t, err)
			want := test.want
			want.Op, want.Provider, want.Sent, want.Status = "refresh", "acme", broker.SentAnswered, test.status
			want.Host = strings.TrimPrefix(provider.URL, "http://")
			if got != want {
				t.Errorf("Refresh = %+v, want %+v", got, want)
			}
			_, err = newClient(t).ClientCredentials(t.Context(), k, nil)
			if failed, ok := errors.AsType[*broker.ProviderError](err); !ok || failed.Reauth {
				t.Errorf("ClientCredentials = %+v, want an error without Reauth, since no person consented", failed)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, " 120 ": 2 * time.Minute, "-1": 0, "soon": 0, "1.5": 0,
		"99999999999999999999999":       maxRetryAfter,
		"Mon, 23 Nov 2026 15:00:30 GMT": 30 * time.Second,
		"Mon, 23 Nov 2026 14:00:30 GMT": 0,
		"Mon, 23 Nov 2099 15:00:30 GMT": maxRetryAfter,
	} {
		if got := retryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("retryAfter(%q) = %v, want %v", text, got, want)
		}
	}
}

// TestRedirectsAreNotFollowed is promise 18's second listener: nothing is ever
// sent to another host, and what it says is never a token.
func TestRedirectsAreNotFollowed(t *testing.T) {
	other := record(t, saysJSON(goodAnswer))
	for _, status := range []int{300, 301, 302, 303, 304, 307, 308} {
		provider := record(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", other.URL+"/token?token="+canaryRefresh)
			w.WriteHeader(status)
		})
		k := connection(provider.URL)
		k.Definition.RevocationURL = provider.URL
		k.Definition.Identity = &broker.IdentityRequest{URL: provider.URL}
		c := newClient(t)
		_, refreshErr := c.Refresh(t.Context(), k, broker.NewSecret(canaryRefresh))
		_, exchangeErr := c.Exchange(t.Context(), k, broker.CodeExchange{Code: broker.NewSecret(canaryCode)})
		_, identifyErr := c.Identify(t.Context(), k, broker.NewSecret(canaryAccess))
		for op, err := range map[string]error{
			"refresh": refreshErr, "exchange": exchangeErr, "identify": identifyErr,
			"revoke": c.Revoke(t.Context(), k, broker.NewSecret(canaryRefresh), ""),
		} {
			if failed := providerError(t, err); failed.Op != op || failed.Status != status || !errors.Is(err, errRedirect) {
				t.Errorf("%s answered %d = %v, want a redirect that is not followed", op, status, err)
			}
		}
		if got := len(provider.requests()); got != 4 {
			t.Errorf("requests answered %d = %d, want 4", status, got)
		}
	}
	if got := other.requests(); len(got) != 0 {
		t.Errorf("the other host saw %d requests, want none", len(got))
	}
}

func TestEndlessAnswers(t *testing.T) {
	padding := []byte(strings.Repeat(" ", 32<<10))
	endless := func(w io.Writer) {
		for {
			if _, err := w.Write(padding); err != nil {
				return
			}
		}
	}
	for name, answer := range map[string]http.HandlerFunc{
		"never-ending": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"access_token":"a"`)
			endless(w)
		},
		"10 GB announced": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10000000000")
			endless(w)
		},
		"gzip bomb": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			bomb, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
			endless(bomb)
		},
		"1 MB token": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"access_token":%q}`, strings.Repeat("a", 1<<20))
		},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			provider := record(t, answer)
			runtime.ReadMemStats(&before)
			_, err := refreshAt(t, connection(provider.URL))
			runtime.ReadMemStats(&after)
			if failed := providerError(t, err); !errors.Is(err, errTooLong) || failed.Status != 200 {
				t.Errorf("Refresh = %v, want %v", err, errTooLong)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 {
				t.Errorf("allocated %d MiB, want less than 16", used>>20)
			}
		})
	}
}

// speak runs a provider that speaks bare TCP.
func speak(t *testing.T, serve func(net.Conn, *bufio.Reader)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn, bufio.NewReader(conn))
			}()
		}
	}()
	return "http://" + listener.Addr().String()
}

// drain reads one request with its body.
func drain(r *bufio.Reader) error {
	request, err := http.ReadRequest(r)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, request.Body)
	return err
}

func TestBrokenHTTP(t *testing.T) {
	for name, answer := range map[string]string{
		"no HTTP":            canaryRefresh + " is what you sent\r\n\r\n",
		"bad header":         "HTTP/1.1 200 OK\r\n" + canaryRefresh + "\r\n\r\n",
		"bad length":         "HTTP/1.1 200 OK\r\nContent-Length: " + canaryRefresh + "\r\n\r\n",
		"header of 1 MiB":    "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n{}",
		"1xx flood":          strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n", 100000),
		"nothing":            "",
		"short body":         "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"access_token\":\"a\"",
		"bad chunk":          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + canaryRefresh + "\r\n",
		"switching protocol": "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			at := speak(t, func(conn net.Conn, r *bufio.Reader) {
				if drain(r) == nil {
					io.WriteString(conn, answer)
				}
			})
			token, err := refreshAt(t, connection(at))
			failed := providerError(t, err)
			if failed.Sent == broker.SentNever || failed.Timeout || !token.AccessToken.Empty() {
				t.Errorf("Refresh = %+v, want an error that says it was sent", *failed)
			}
			if answered := failed.Status != 0; answered != (failed.Sent == broker.SentAnswered) {
				t.Errorf("Status, Sent = %d, %v, want a status exactly where it was answered", failed.Status, failed.Sent)
			}
		})
	}
}

func TestSlowAnswers(t *testing.T) {
	for name, serve := range map[string]func(net.Conn){
		"silence":      func(net.Conn) {},
		"slow headers": func(conn net.Conn) { io.WriteString(conn, "HTTP/1.1 200 OK\r\nX-") },
		"slow body": func(conn net.Conn) {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
		},
	} {
		t.Run(name, func(t *testing.T) {
			at := speak(t, func(conn net.Conn, r *bufio.Reader) {
				if drain(r) == nil {
					serve(conn)
					r.ReadByte() // returns when the client hangs up
				}
			})
			c := New(Config{Addresses: loopback, Timeout: 50 * time.Millisecond})
			defer c.Close()
			_, err := c.Refresh(t.Context(), connection(at), broker.NewSecret(canaryRefresh))
			want := broker.SentUnknown
			if name == "slow body" {
				want = broker.SentAnswered
			}
			if failed := providerError(t, err); !failed.Timeout || failed.Sent != want {
				t.Errorf("Refresh = %+v, want a timeout with Sent %v", *failed, want)
			}
		})
	}
}

func TestConnectionsAreReusedAndLeftClean(t *testing.T) {
	opened := make(chan net.Conn, 100)
	server := httptest.NewUnstartedServer(saysJSON(goodAnswer))
	server.Config.ConnState = func(conn net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened <- conn
		}
	}
	server.Start()
	defer server.Close()
	before := runtime.NumGoroutine()
	c := New(Config{Addresses: loopback})
	for range 20 {
		if _, err := c.Refresh(t.Context(), connection(server.URL), broker.NewSecret("r")); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(opened); got != 1 {
		t.Errorf("connections for 20 requests = %d, want 1", got)
	}
	c.Close()
	server.CloseClientConnections()
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("goroutines = %d after Close, want at most %d", after, before)
	}
}
