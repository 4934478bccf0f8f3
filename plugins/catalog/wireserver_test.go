package catalog

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/invectd/invectd/broker/oauth"
)

// A sent request is what a provider got, to the letter.
type sent struct {
	method, url   string // the URL without its query
	authorization string
	header        http.Header
	contentType   string
	params        map[string]string // of the query and of a body in either format
}

// A world is all the hosts that there are, as one TLS server that has a
// certificate for each. It answers what it is told to, and keeps what it got.
type world struct {
	*httptest.Server
	roots *x509.CertPool

	mu      sync.Mutex
	answers []string // guarded by mu
	got     []sent   // guarded by mu
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{roots: x509.NewCertPool()}
	w.Server = httptest.NewUnstartedServer(w)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	authority := certificate("authority", true)
	text, err := x509.CreateCertificate(rand.Reader, authority, authority, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if authority, err = x509.ParseCertificate(text); err != nil {
		t.Fatal(err)
	}
	w.roots.AddCert(authority)
	w.TLS = &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		leaf, err := x509.CreateCertificate(rand.Reader, certificate(hello.ServerName, false), authority, key.Public(), key)
		return &tls.Certificate{Certificate: [][]byte{leaf}, PrivateKey: key}, err
	}}
	w.StartTLS()
	t.Cleanup(w.Close)
	return w
}

func certificate(name string, isCA bool) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: isCA, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
}

// client returns a client for which every name leads to this world.
func (w *world) client(t *testing.T) *oauth.Client {
	c := oauth.New(oauth.Config{RootCAs: w.roots, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, w.Listener.Addr().String())
	}})
	t.Cleanup(c.Close)
	return c
}

// answer says what the next requests get, one each.
func (w *world) answer(answers ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers, w.got = nil, nil
	for _, a := range answers {
		text, err := json.Marshal(a)
		if err != nil {
			panic(err) // a test that cannot be
		}
		w.answers = append(w.answers, string(text))
	}
}

// requests returns what came since answers were said.
func (w *world) requests() []sent {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.got
}

func (w *world) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	s := sent{
		method: r.Method, url: "https://" + r.Host + r.URL.EscapedPath(),
		authorization: r.Header.Get("Authorization"), header: r.Header, contentType: r.Header.Get("Content-Type"),
		params: map[string]string{},
	}
	for name, values := range r.URL.Query() {
		s.params[name] = values[0]
	}
	body, _ := io.ReadAll(r.Body)
	if s.contentType == "application/json" {
		_ = json.Unmarshal(body, &s.params) // what is missing is seen by the test
	} else if form, err := url.ParseQuery(string(body)); err == nil {
		for name, values := range form {
			s.params[name] = values[0]
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.got = append(w.got, s)
	if len(w.answers) == 0 {
		out.WriteHeader(http.StatusTeapot)
		return
	}
	out.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(out, w.answers[0])
	w.answers = w.answers[1:]
}

// newPrivateKey returns a key in PEM, for clients that sign.
func newPrivateKey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text}))
}
