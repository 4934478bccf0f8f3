package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/invectd/invectd/cmd/invectd/internal/sandbox"
	"github.com/invectd/invectd/plugins/host"
	"github.com/invectd/invectd/plugins/sdk"
)

// TestMain makes this test binary be the programs that scripts run: invectd
// itself, a browser with somebody in front of it, and an attacker.
func TestMain(m *testing.M) {
	host.Launch() // so that the daemon in a test can start plugins
	testscript.Main(m, map[string]func(){"invectd": main, "browser": browser, "flood": floodMain, "my_service": pluginMain})
}

// pluginMain is a plugin that needs a hook. It refuses whatever is asked of it.
func pluginMain() {
	sdk.Serve(sdk.Plugin{Version: "1.2.3", Providers: []sdk.Provider{{
		Definition: sdk.Definition{
			ID: "my_service", Name: "My Service", AuthorizationURL: "https://127.0.0.1:1/authorize", TokenURL: "https://127.0.0.1:1/token",
		},
		TokenRequest: func(context.Context, *sdk.TokenRequest) error { return errors.New("the moon is full") },
	}}})
}

// TestScripts runs the program as people do. Each script has its own folder,
// and daemons of its own.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("INVECT_SOCKET", filepath.Join(e.WorkDir, "invectd.sock"))
			e.Setenv("KEY", newKeyText())
			e.Setenv("BROWSER", "browser")
			// Under the race detector every program would sleep for a second at its end.
			e.Setenv("GORACE", "atexit_sleep_ms=0")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "field": field, "snapshot": snapshot, "decide": decide, "provider": provider,
		},
	})
}

// browser opens the consent page of the sandbox, presses Allow, or Deny if
// DECISION says so, and goes where that leads.
func browser() {
	if err := browse(context.Background(), os.Args[1], os.Getenv("DECISION") != "deny"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func browse(ctx context.Context, address string, allow bool) error {
	target, err := sandbox.Decide(ctx, address, allow)
	if err != nil {
		return err
	}
	response, err := http.Get(target.String())
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	return errors.Join(err, response.Body.Close())
}

// exits CODE PROGRAM [ARGUMENT...] runs a program and wants that exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARGUMENT...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// field NAME KEY sets a variable to what the JSON object on stdout has there.
func field(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: field VARIABLE KEY")
	}
	var object map[string]any
	decoder := json.NewDecoder(bytes.NewReader([]byte(ts.ReadFile("stdout"))))
	decoder.UseNumber()
	ts.Check(decoder.Decode(&object))
	value, ok := object[args[1]]
	if !ok {
		ts.Fatalf("stdout has no %q", args[1])
	}
	ts.Setenv(args[0], fmt.Sprint(value))
}

// snapshot FOLDER FILE writes down what lies in a folder, byte for byte and with
// the times of its changes.
func snapshot(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: snapshot FOLDER FILE")
	}
	var out bytes.Buffer
	root := ts.MkAbs(args[0])
	ts.Check(filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		var sum [sha256.Size]byte
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			sum = sha256.Sum256(data)
		}
		fmt.Fprintln(&out, name, info.Mode(), info.ModTime().UnixNano(), fmt.Sprintf("%x", sum))
		return nil
	}))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), out.Bytes(), 0o600))
}

// provider ID PATTERN waits until what is shown of a provider matches, and leaves
// it as stdout.
func provider(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: provider ID PATTERN")
	}
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if ts.Exec("invectd", "providers", args[0]) == nil && pattern.MatchString(ts.ReadFile("stdout")) {
			return
		}
	}
	ts.Fatalf("invectd providers %s does not come to match %s: %s", args[0], args[1], ts.ReadFile("stdout"))
}

// decide allow|deny URL answers the sandbox's consent page, and sets TARGET to
// where that leads.
func decide(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: decide allow|deny URL")
	}
	target, err := sandbox.Decide(context.Background(), args[1], args[0] == "allow")
	ts.Check(err)
	ts.Setenv("TARGET", target.String())
}
