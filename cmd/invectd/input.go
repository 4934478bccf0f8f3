package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// maxInput bounds what is read of a file or of standard input, in bytes. The
// daemon takes no more.
const maxInput = 64 << 10

// stdinName is how standard input is written in place of a file.
const stdinName = "-"

var errInterrupted = errors.New("interrupted, and nothing was changed")

// readSecret reads a secret from a file or standard input, without the line end
// that an editor or echo put after it. With no file it asks at the terminal.
func (p program) readSecret(ctx context.Context, path, what string) (string, error) {
	text, err := p.secretText(ctx, path, what)
	if err != nil {
		return "", err
	}
	text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	if text == "" {
		return "", fmt.Errorf("the %s is empty", what)
	}
	return text, nil
}

func (p program) secretText(ctx context.Context, path, what string) (string, error) {
	file, asks := terminal(p.stdin)
	switch {
	case asks && (path == "" || path == stdinName):
		return p.askSecret(ctx, file, what)
	case path == "":
		return "", usagef("the %s is missing: give it in a file, or - for standard input", what)
	}
	data, err := p.readInput(path)
	return string(data), err
}

// askSecret reads a line with the terminal's echo off. An interrupt turns it on
// again.
func (p program) askSecret(ctx context.Context, file *os.File, what string) (string, error) {
	fd := int(file.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("reading the %s: %w", what, err)
	}
	fmt.Fprintf(p.stderr, "%s (not shown): ", strings.ToUpper(what[:1])+what[1:])
	defer fmt.Fprintln(p.stderr)
	text, err := interruptible(ctx, func() (string, error) {
		text, err := term.ReadPassword(fd)
		return string(text), err
	})
	switch {
	case errors.Is(err, errInterrupted):
		return "", errors.Join(err, term.Restore(fd, state))
	case err != nil:
		return "", fmt.Errorf("reading the %s: %w", what, err)
	}
	return text, nil
}

// interruptible reads from a terminal until ctx ends. The read itself cannot be
// cancelled: after an interrupt it ends with the process.
func interruptible(ctx context.Context, read func() (string, error)) (string, error) {
	type outcome struct {
		text string
		err  error
	}
	done := make(chan outcome, 1)
	go func() {
		text, err := read()
		done <- outcome{text, err}
	}()
	select {
	case o := <-done:
		return o.text, o.err
	case <-ctx.Done():
		return "", errInterrupted
	}
}

// readInput reads a file, or standard input where its name is "-".
func (p program) readInput(path string) ([]byte, error) {
	in := p.stdin
	if path != stdinName {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in = file
	}
	data, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", path, err)
	case len(data) > maxInput:
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxInput)
	}
	return data, nil
}

// readObject reads a file that holds one JSON object. Its errors quote nothing:
// the file holds secrets.
func (p program) readObject(path string) (map[string]any, error) {
	data, err := p.readInput(path)
	if err != nil {
		return nil, err
	}
	if !json.Valid(data) {
		return nil, fmt.Errorf("%s is not JSON", path)
	}
	decoder := json.NewDecoder(strings.NewReader(string(data)))
	decoder.UseNumber()
	var object map[string]any
	if decoder.Decode(&object) != nil || object == nil {
		return nil, fmt.Errorf("%s is not a JSON object", path)
	}
	return object, nil
}

// confirm asks a person to say yes. Where there is nobody to ask, it takes --yes.
func (p program) confirm(ctx context.Context, question string) error {
	if _, asks := terminal(p.stdin); !asks {
		return usagef("%s: there is no terminal to ask at, so say --yes", question)
	}
	fmt.Fprintf(p.stderr, "%s? [y/N] ", question)
	answer, err := interruptible(ctx, func() (string, error) { return bufio.NewReader(p.stdin).ReadString('\n') })
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errors.New("nothing was changed")
}
