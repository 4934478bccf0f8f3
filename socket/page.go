package socket

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // for the page and its style
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageStyle string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// pagePolicy lets the page do nothing at all but look as its style says.
var pagePolicy = func() string {
	hash := sha256.Sum256([]byte(pageStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}()

// A page tells a person how a flow ended. Its text is fixed: nothing that came
// with the request is ever in it.
type page struct {
	Title, Text string
	Style       template.CSS
}

// pages are by the code of the error.
var pages = map[string]page{
	codeAccessDenied: {
		Title: "Not connected",
		Text:  "Access was not granted, so nothing was stored. To try again, start again where you came from.",
	},
	codeInvalidState: {
		Title: "This link does not work any more",
		Text:  "It was used already, it is older than ten minutes, or it was not made here. Start again where you came from.",
	},
	codeForbidden: {
		Title: "Not here",
		Text:  "This address does not take connections under the name that your browser asked for.",
	},
}

var (
	pageConnected = page{
		Title: "Connected",
		Text:  "The connection is stored and will be kept fresh. You can close this window.",
	}
	pageFailed = page{
		Title: "Not connected",
		Text:  "The connection could not be completed. The log of invectd says why. Start again where you came from.",
	}
)

// showPage shows how a flow ended: with status 200, or with the error of a code.
func showPage(w http.ResponseWriter, status int, code string) error {
	content := pageConnected
	if status != http.StatusOK {
		content = pageFailed
		if known, ok := pages[code]; ok {
			content = known
		}
	}
	return content.show(w, pageStatus(status))
}

// ShowPage shows a person a page of the daemon's look, of which neither a script
// nor another page can do anything. Nothing that came with the request may be in
// the title or the text.
func ShowPage(w http.ResponseWriter, status int, title, text string) error {
	header := w.Header()
	header["Cache-Control"], header["X-Content-Type-Options"] = noStore, noSniff
	header.Set("Referrer-Policy", "no-referrer") // the URL may hold a code
	return page{Title: title, Text: text}.show(w, status)
}

func (p page) show(w http.ResponseWriter, status int) error {
	p.Style = template.CSS(pageStyle)
	var body bytes.Buffer
	if err := pageTemplate.Execute(&body, p); err != nil {
		return fmt.Errorf("rendering the page: %w", err)
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Security-Policy", pagePolicy)
	header.Set("X-Frame-Options", "DENY")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // where it fails, nobody is there to see it
	return nil
}

// pageStatus reduces a status to those that a page may have.
func pageStatus(status int) int {
	switch {
	case status == http.StatusOK, status == http.StatusForbidden:
		return status
	case status < 500:
		return http.StatusBadRequest
	}
	return http.StatusBadGateway
}
