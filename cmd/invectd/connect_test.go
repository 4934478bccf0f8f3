package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// startDev runs a daemon and a sandbox in this process until the test ends, and
// returns the daemon's socket.
func startDev(t *testing.T) (socket string) {
	t.Helper()
	dir := t.TempDir()
	ctx, end := context.WithCancel(context.WithoutCancel(t.Context()))
	out, in := io.Pipe()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"dev", "--data-dir", dir}, program{strings.NewReader(""), in, t.Output(), noVariables})
		in.Close()
	}()
	t.Cleanup(func() {
		end()
		if code := <-done; code != exitOK {
			t.Errorf("dev exits %d, want 0", code)
		}
	})
	// The guide is printed once everything answers.
	guide := bufio.NewScanner(out)
	for guide.Scan() {
		if strings.HasPrefix(guide.Text(), "Ctrl-C") {
			return filepath.Join(dir, "invectd.sock")
		}
	}
	t.Fatal("dev printed no guide")
	return ""
}

func noVariables(string) string { return "" }

// startConnect runs `invectd connect` in this process, and returns the address
// of the consent page that it prints.
func startConnect(t *testing.T, ctx context.Context, socket string) (address string, exit <-chan int, rest *bufio.Scanner) {
	t.Helper()
	out, in := io.Pipe()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"connect", "sandbox", "--socket", socket}, program{strings.NewReader(""), io.Discard, in, noVariables})
		in.Close()
	}()
	rest = bufio.NewScanner(out)
	for rest.Scan() {
		if line := strings.TrimSpace(rest.Text()); strings.HasPrefix(line, "http://") {
			return line, done, rest
		}
	}
	t.Fatal("connect printed no address")
	return "", nil, nil
}

func TestConnectInterrupted(t *testing.T) {
	socket := startDev(t)
	ctx, interrupt := context.WithCancel(t.Context())
	_, exit, rest := startConnect(t, ctx, socket)
	interrupt()
	var said []string
	for rest.Scan() {
		said = append(said, rest.Text())
	}
	if code := <-exit; code != exitError {
		t.Errorf("connect exits %d, want %d", code, exitError)
	}
	if got, want := strings.Join(said, "\n"), "\ninvectd: "+errInterrupted.Error(); got != want {
		t.Errorf("connect said %q, want %q", got, want)
	}
}

// TestConnectStrangers sends what is not the answer before what is.
func TestConnectStrangers(t *testing.T) {
	socket := startDev(t)
	address, exit, rest := startConnect(t, t.Context(), socket)
	go func() {
		for rest.Scan() { // so that nothing waits for being read
		}
	}()
	authorization, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	redirectURI := authorization.Query().Get("redirect_uri")
	state := authorization.Query().Get("state")
	const marker = "marker-in-a-query"
	for _, test := range []struct {
		name, method, address, host string
		want                        int
	}{
		{"another state", "GET", redirectURI + "?code=" + marker + "&state=x", "", 400},
		{"no state", "GET", redirectURI + "?code=" + marker, "", 400},
		{"a name that points here", "GET", redirectURI + "?code=" + marker + "&state=" + state, "evil.example", 400},
		{"a preview", "HEAD", redirectURI + "?code=" + marker + "&state=" + state, "", 404},
		{"another path", "GET", strings.TrimSuffix(redirectURI, loopbackPath) + "/favicon.ico", "", 404},
	} {
		status, header, body := ask(t, test.method, test.address, test.host)
		if status != test.want || strings.Contains(body, marker) {
			t.Errorf("%s: answered %d %q, want %d without what was asked", test.name, status, body, test.want)
		}
		if policy := header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'; style-src 'sha256-") || !strings.Contains(policy, "frame-ancestors 'none'") || test.method == "GET" && !strings.Contains(body, "<style>:root") {
			t.Errorf("%s: answered %q with the policy %q, want the daemon's page, which may have its style and nothing else", test.name, body, policy)
		}
		if header.Get("Content-Security-Policy") == "" || header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: headers %v, want a policy for content and referrers", test.name, header)
		}
	}
	if err := browse(t.Context(), address, true); err != nil {
		t.Errorf("the person's own browser: %v", err)
	}
	if code := <-exit; code != exitOK {
		t.Errorf("connect exits %d, want 0", code)
	}
}

func ask(t *testing.T, method, address, host string) (status int, header http.Header, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = host
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(data)
}

// TestLoopbackPages looks at what the browser shows in the end.
func TestLoopbackPages(t *testing.T) {
	for _, test := range []struct {
		connected bool
		status    int
		want      string
	}{{true, 200, "<h1>Connected</h1>"}, {false, 400, "<h1>Not connected</h1>"}} {
		l, err := listenLoopback(0)
		if err != nil {
			t.Fatal(err)
		}
		l.serve("the-state")
		l.finish(test.connected)
		address := l.redirectURI() + "?code=c&iss=i&state=the-state&realmId=9"
		status, _, body := ask(t, "GET", address, "")
		if status != test.status || !strings.Contains(body, test.want) {
			t.Errorf("the page is %d %q, want %d %q", status, body, test.status, test.want)
		}
		if got, want := <-l.arrived, (redirect{code: "c", issuer: "i", params: map[string]string{"realmId": "9"}}); !reflect.DeepEqual(got, want) {
			t.Errorf("redirect = %+v, want %+v", got, want)
		}
		if status, _, _ := ask(t, "GET", address, ""); status != http.StatusBadRequest {
			t.Errorf("the second redirect is answered %d, want 400", status)
		}
		l.close()
	}
}
