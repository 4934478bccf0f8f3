package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openTerminal returns the two ends of a new terminal: what a person types into,
// and what a program reads from.
func openTerminal(t *testing.T) (keyboard, tty *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatalf("opening a terminal: %v", err)
	}
	t.Cleanup(func() { keyboard.Close() })
	if err := unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatalf("unlocking the terminal: %v", err)
	}
	number, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatalf("asking for the terminal's number: %v", err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatalf("opening the terminal: %v", err)
	}
	t.Cleanup(func() { tty.Close() })
	return keyboard, tty
}

func echoes(t *testing.T, tty *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatalf("asking for the terminal's state: %v", err)
	}
	return state.Lflag&unix.ECHO != 0
}

// awaitEcho looks at the terminal until it echoes, or does not.
func awaitEcho(t *testing.T, tty *os.File, want bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for echoes(t, tty) != want {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatalf("echo is %v, want %v", !want, want)
		}
	}
}

func TestSecretIsTypedUnseen(t *testing.T) {
	keyboard, tty := openTerminal(t)
	p := program{stdin: tty, stderr: io.Discard}
	type outcome struct {
		secret string
		err    error
	}
	done := make(chan outcome)
	go func() {
		secret, err := p.readSecret(t.Context(), stdinName, "API key")
		done <- outcome{secret, err}
	}()
	awaitEcho(t, tty, false)
	if _, err := keyboard.WriteString("sk-123\n"); err != nil {
		t.Fatal(err)
	}
	if got := <-done; got.err != nil || got.secret != "sk-123" {
		t.Errorf("readSecret = %q, %v, want sk-123", got.secret, got.err)
	}
	if !echoes(t, tty) {
		t.Error("the terminal echoes nothing any more")
	}
}

func TestSecretInterrupted(t *testing.T) {
	keyboard, tty := openTerminal(t)
	p := program{stdin: tty, stderr: io.Discard}
	ctx, interrupt := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := p.readSecret(ctx, "", "API key")
		done <- err
	}()
	awaitEcho(t, tty, false)
	interrupt()
	if err := <-done; !errors.Is(err, errInterrupted) {
		t.Errorf("readSecret = %v, want %v", err, errInterrupted)
	}
	if !echoes(t, tty) {
		t.Error("the terminal echoes nothing any more")
	}
	keyboard.WriteString("\n") // lets the read end, as the process's end would
}

func TestReadSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	for _, test := range []struct{ content, want, err string }{
		{"sk-123\n", "sk-123", ""},
		{"sk-123\r\n", "sk-123", ""},
		{"sk-123", "sk-123", ""},
		{" spaces are part of it \n", " spaces are part of it ", ""},
		{"two\nlines\n\n", "two\nlines\n", ""},
		{"\n", "", "the token is empty"},
		{strings.Repeat("x", maxInput+1), "", "has more than 65536 bytes"},
	} {
		if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
			t.Fatal(err)
		}
		p := program{stdin: strings.NewReader(test.content)}
		for _, name := range []string{path, stdinName} {
			got, err := p.readSecret(t.Context(), name, "token")
			if got != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("readSecret of %.20q = %q, %v, want %q, %q", test.content, got, err, test.want, test.err)
			}
		}
	}
	p := program{stdin: strings.NewReader("sk-123\n")}
	if _, err := p.readSecret(t.Context(), "", "token"); exitCode(err) != exitUsage {
		t.Errorf("readSecret without a file and a terminal = %v, want a usage error", err)
	}
}

func TestReadObject(t *testing.T) {
	for _, test := range []struct{ content, err string }{
		{`{"apiKey":"sk-123","n":12345678901234567890}`, ""},
		{`["sk-123"]`, "is not a JSON object"},
		{`null`, "is not a JSON object"},
		{`{"apiKey":"sk-123"} {}`, "is not JSON"},
		{`sk-123`, "is not JSON"},
		{``, "is not JSON"},
	} {
		p := program{stdin: strings.NewReader(test.content)}
		object, err := p.readObject(stdinName)
		switch {
		case test.err == "" && (err != nil || fmt.Sprint(object["n"]) != "12345678901234567890"):
			t.Errorf("readObject(%s) = %v, %v, want the whole number", test.content, object, err)
		case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err) || strings.Contains(err.Error(), "sk-123")):
			t.Errorf("readObject(%s) = %v, want %q and nothing of the file", test.content, err, test.err)
		}
	}
}

func TestTablesHoldNoControlCharacters(t *testing.T) {
	var out bytes.Buffer
	table := newTable(&out, "NAME", "STATUS")
	table.row("a\tb\x1b[31m\n", "ok")
	if err := table.print(); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "NAME       STATUS\na b [31m   ok\n"; got != want {
		t.Errorf("table = %q, want %q", got, want)
	}
}

func TestWhen(t *testing.T) {
	now := time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		at   *time.Time
		want string
	}{
		{nil, "-"},
		{new(now.Add(59*time.Second + 900*time.Millisecond)), "in 59s"},
		{new(now.Add(time.Hour - time.Second)), "in 59m"},
		{new(now.Add(47 * time.Hour)), "in 47h"},
		{new(now.Add(48 * time.Hour)), "in 2d"},
		{&now, "0s ago"},
		{new(now.Add(-3 * time.Hour)), "3h ago"},
	} {
		if got := when(test.at, now); got != test.want {
			t.Errorf("when(%v) = %q, want %q", test.at, got, test.want)
		}
	}
}
