package oauth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
)

// An authority signs certificates for one test.
type authority struct {
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{key, certificate}
}

// issue returns a certificate and its key in PEM, after edit had its say.
func (a *authority) issue(t *testing.T, edit func(*x509.Certificate)) (certificate, key []byte) {
	t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "acme"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	edit(template)
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, own.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

func (a *authority) serve(t *testing.T, config *tls.Config, edit func(*x509.Certificate)) *httptest.Server {
	t.Helper()
	certificate, key := a.issue(t, edit)
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	config.Certificates = []tls.Certificate{pair}
	secure := httptest.NewUnstartedServer(saysJSON(goodAnswer))
	secure.TLS = config
	secure.Config.ErrorLog = silent()
	secure.StartTLS()
	t.Cleanup(secure.Close)
	return secure
}

func TestTLS(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	same := func(*x509.Certificate) {}
	for _, test := range []struct {
		name   string
		server *httptest.Server
		ok     bool
	}{
		{"good", ca.serve(t, &tls.Config{}, same), true},
		{"TLS 1.2", ca.serve(t, &tls.Config{MaxVersion: tls.VersionTLS12}, same), true},
		{"TLS 1.1", ca.serve(t, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, same), false},
		{"expired", ca.serve(t, &tls.Config{}, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), false},
		{"not yet", ca.serve(t, &tls.Config{}, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }), false},
		{"wrong host", ca.serve(t, &tls.Config{}, func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"other.example"} }), false},
		{"for clients", ca.serve(t, &tls.Config{}, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), false},
		{"unknown authority", stranger.serve(t, &tls.Config{}, same), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := New(Config{Addresses: loopback, RootCAs: ca.pool()})
			defer c.Close()
			token, err := c.Refresh(t.Context(), connection(test.server.URL), broker.NewSecret(canaryRefresh))
			if test.ok {
				if err != nil || token.AccessToken.Empty() {
					t.Errorf("Refresh = %v, want a token", err)
				}
				return
			}
			if failed := providerError(t, err); failed.Sent != broker.SentNever || failed.Status != 0 {
				t.Errorf("Refresh = %+v, want Sent never", *failed)
			}
			if strings.Contains(test.name, "expired") && !strings.Contains(err.Error(), "certificate is not trusted: x509: certificate has expired") {
				t.Errorf("Refresh = %q, want it to say that the certificate has expired", err)
			}
		})
	}
}

func TestTLSClientAuth(t *testing.T) {
	ca := newAuthority(t)
	server := ca.serve(t, &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool()}, func(*x509.Certificate) {})
	certificate, key := ca.issue(t, func(*x509.Certificate) {})
	c := New(Config{Addresses: loopback, RootCAs: ca.pool()})
	defer c.Close()
	k := connection(server.URL)
	if _, err := c.Refresh(t.Context(), k, broker.NewSecret(canaryRefresh)); err == nil {
		t.Error("Refresh without a certificate succeeded")
	} else {
		noCanary(t, err)
	}
	k.Definition.ClientAuthentication = broker.TLSClientAuth
	k.Client.Certificate, k.Client.PrivateKey = string(certificate), broker.NewSecret(string(key))
	if _, err := c.Refresh(t.Context(), k, broker.NewSecret(canaryRefresh)); err != nil {
		t.Errorf("Refresh with a certificate = %v", err)
	}
	if _, err := c.Refresh(t.Context(), connection(server.URL), broker.NewSecret(canaryRefresh)); err == nil {
		t.Error("the certificate of one client served another")
	}
}
