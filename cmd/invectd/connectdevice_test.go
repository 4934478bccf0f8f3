package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/invectd/invectd/socket/client"
)

// startConnectDevice runs `invectd connect sandbox --device` in this process, and
// returns the address that has the code in it.
func startConnectDevice(t *testing.T, ctx context.Context, socket string, args ...string) (complete string, exit <-chan int, rest *bufio.Scanner) {
	t.Helper()
	out, in := io.Pipe()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, append([]string{"connect", "sandbox", "--device", "--socket", socket}, args...), program{strings.NewReader(""), io.Discard, in, noVariables})
		in.Close()
	}()
	rest = bufio.NewScanner(out)
	for rest.Scan() {
		if line := strings.TrimSpace(rest.Text()); strings.Contains(line, "user_code=") {
			return line, done, rest
		}
	}
	t.Fatal("connect printed no address with a code")
	return "", nil, nil
}

// decideDevice is the person who opens the address and presses a button.
func decideDevice(t *testing.T, complete, decision string) {
	t.Helper()
	page, err := url.Parse(complete)
	if err != nil {
		t.Fatal(err)
	}
	code := page.Query().Get("user_code")
	page.RawQuery = ""
	response, err := http.PostForm(page.String(), url.Values{"user_code": {code}, "decision": {decision}})
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("the page answers %s to %s", response.Status, decision)
	}
}

func remainder(rest *bufio.Scanner) string {
	var said []string
	for rest.Scan() {
		said = append(said, rest.Text())
	}
	return strings.Join(said, "\n")
}

func TestConnectDevice(t *testing.T) {
	socket := startDev(t)
	c := client.New(socket)
	defer c.Close()

	complete, exit, rest := startConnectDevice(t, t.Context(), socket, "--name", "kiosk")
	decideDevice(t, complete, "allow")
	if said := remainder(rest); said != "" {
		t.Errorf("connect said %q, want nothing more", said)
	}
	if code := <-exit; code != exitOK {
		t.Fatalf("connect exits %d, want 0", code)
	}
	if token, err := c.Token(t.Context(), "kiosk", client.ReadOptions{}); err != nil || token.Generation != 1 {
		t.Errorf("Token = generation %d, %v, want the first one", token.Generation, err)
	}
	if test, err := c.TestCredential(t.Context(), "kiosk"); err != nil || !test.Success {
		t.Errorf("TestCredential = %+v, %v, want success", test, err)
	}
	if kiosk, err := c.RefreshCredential(t.Context(), "kiosk"); err != nil || kiosk.Generation != 2 {
		t.Errorf("RefreshCredential = generation %d, %v, want the second one", kiosk.Generation, err)
	}

	complete, exit, rest = startConnectDevice(t, t.Context(), socket, "--name", "no")
	decideDevice(t, complete, "deny")
	if said := remainder(rest); !strings.Contains(said, "access was not granted: the person said no") {
		t.Errorf("connect said %q, want that access was not granted", said)
	}
	if code := <-exit; code != exitDenied {
		t.Errorf("connect exits %d, want %d", code, exitDenied)
	}

	ctx, interrupt := context.WithCancel(t.Context())
	_, exit, rest = startConnectDevice(t, ctx, socket, "--name", "never mind")
	interrupt()
	if said := remainder(rest); !strings.HasSuffix(said, "invectd: "+errInterrupted.Error()) {
		t.Errorf("connect said %q, want that it was interrupted", said)
	}
	if code := <-exit; code != exitError {
		t.Errorf("connect exits %d, want %d", code, exitError)
	}
	if _, err := c.Credential(t.Context(), "never mind"); err == nil {
		t.Error("the credential is still there, want that it went with the flow")
	}

	_, exit, rest = startConnectDevice(t, t.Context(), socket, "--name", "late", "--timeout", "1ms")
	if said, code := remainder(rest), <-exit; !strings.Contains(said, "in time, and nothing was stored") || code != exitError {
		t.Errorf("connect said %q and exits %d", said, code)
	}
}
