package host

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/plugins/protocol"
)

// Ready implements [broker.Hooks].
func (h *Host) Ready(d *broker.Definition) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, hook := range d.Hooks {
		if _, _, err := h.granted(d.ID, hook); err != nil {
			return err
		}
	}
	return nil
}

// board returns the process that answers a hook, with a call of it under way.
func (h *Host) board(provider string, hook broker.Hook) (*supervised, *process, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, process, err := h.granted(provider, hook)
	if err == nil {
		process.calls.Add(1)
	}
	return p, process, err
}

// granted returns the process that answers a hook, if the operator granted it.
// h.mu is held.
func (h *Host) granted(provider string, hook broker.Hook) (*supervised, *process, error) {
	p := h.providers[provider]
	switch {
	case p == nil:
		return nil, nil, fmt.Errorf("the plugin that provider %q needs does not run: see invectd plugins", provider)
	case !slices.Contains(p.trust.Hooks, hook):
		return nil, nil, fmt.Errorf("plugin %s is not granted the hook %s, which provider %q needs: invectd plugins trust %s --hook %s",
			p.name, hook, provider, p.name, hook)
	case p.process == nil:
		return nil, nil, fmt.Errorf("plugin %s, which provider %q needs, does not run: see invectd plugins", p.name, provider)
	}
	return p, p.process, nil
}

// call makes one call of a hook, within its time. secrets are what it shows.
func call[R any](ctx context.Context, h *Host, provider string, hook broker.Hook, secrets []string,
	do func(context.Context, protocol.ProviderClient) (R, error),
) (answer R, err error) {
	p, process, err := h.board(provider, hook)
	if err != nil {
		return answer, err
	}
	defer process.calls.Done()
	deadline, limits := ctx.Deadline()
	hurried := limits && time.Until(deadline) < callTimeout
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if hook.SeesSecrets() {
		process.log.keepQuiet()
	}
	began := time.Now()
	answer, err = do(limited, process.provider)
	if h.config.Trace.Called != nil {
		h.config.Trace.Called(p.name, time.Since(began), err)
	}
	if err == nil || !hurried && ctx.Err() == nil { // else the caller had less time, or went away
		h.note(p, process, err)
	}
	switch {
	case err == nil:
		return answer, nil
	case status.Code(err) == codes.FailedPrecondition:
		return answer, &broker.HookRefusal{Plugin: p.name, Message: redacted(status.Convert(err).Message(), secrets)}
	}
	return answer, fmt.Errorf("its plugin %s failed in the hook %s: %s", p.name, hook, told(err))
}

// note counts calls in a row that were not answered in time, and gives a process
// up that left too many.
func (h *Host) note(p *supervised, process *process, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p.process != process {
		return
	}
	if status.Code(err) != codes.DeadlineExceeded {
		p.missed = 0
		return
	}
	if p.missed++; p.missed == missedCalls {
		process.giveUp()
	}
}

// AuthorizationURL implements [broker.Hooks].
func (h *Host) AuthorizationURL(ctx context.Context, c broker.Connection, url string) (string, error) {
	answer, err := call(ctx, h, c.Definition.ID, broker.HookAuthorizationURL, nil,
		func(ctx context.Context, to protocol.ProviderClient) (*protocol.AuthorizationURLResponse, error) {
			return to.AuthorizationURL(ctx, &protocol.AuthorizationURLRequest{ProviderId: c.Definition.ID, Inputs: c.Inputs, Url: url})
		})
	return answer.GetUrl(), err
}

// Callback implements [broker.Hooks].
func (h *Host) Callback(ctx context.Context, c broker.Connection, query string) error {
	_, err := call(ctx, h, c.Definition.ID, broker.HookCallback, secretsOf(c, query),
		func(ctx context.Context, to protocol.ProviderClient) (*protocol.CallbackResponse, error) {
			return to.Callback(ctx, &protocol.CallbackRequest{ProviderId: c.Definition.ID, Inputs: c.Inputs, Client: wireClient(c.Client), Query: query})
		})
	return err
}

// TokenRequest implements [broker.Hooks].
func (h *Host) TokenRequest(ctx context.Context, c broker.Connection, operation string, r broker.HookRequest) (broker.HookRequest, error) {
	_, query, _ := strings.Cut(r.URL, "?")
	shown := append(slices.Collect(maps.Values(r.Headers)), string(r.Body), query)
	answer, err := call(ctx, h, c.Definition.ID, broker.HookTokenRequest, secretsOf(c, shown...),
		func(ctx context.Context, to protocol.ProviderClient) (*protocol.TokenRequestResponse, error) {
			return to.TokenRequest(ctx, &protocol.TokenRequestRequest{
				ProviderId: c.Definition.ID, Inputs: c.Inputs, Client: wireClient(c.Client), Operation: operation,
				Request: &protocol.HTTPRequest{Method: r.Method, Url: r.URL, Headers: r.Headers, Body: r.Body},
			})
		})
	changed := answer.GetRequest()
	return broker.HookRequest{Method: changed.GetMethod(), URL: changed.GetUrl(), Headers: changed.GetHeaders(), Body: changed.GetBody()}, err
}

// TokenResponse implements [broker.Hooks].
func (h *Host) TokenResponse(ctx context.Context, c broker.Connection, operation string, r broker.HookResponse) (broker.HookResponse, error) {
	answer, err := call(ctx, h, c.Definition.ID, broker.HookTokenResponse, secretsOf(c, string(r.Body)),
		func(ctx context.Context, to protocol.ProviderClient) (*protocol.TokenResponseResponse, error) {
			return to.TokenResponse(ctx, &protocol.TokenResponseRequest{
				ProviderId: c.Definition.ID, Inputs: c.Inputs, Operation: operation,
				Response: &protocol.HTTPResponse{Status: int32(r.Status), Headers: r.Headers, Body: r.Body},
			})
		})
	changed := answer.GetResponse()
	return broker.HookResponse{Status: int(changed.GetStatus()), Headers: changed.GetHeaders(), Body: changed.GetBody()}, err
}

func wireClient(c broker.Client) *protocol.Client {
	return &protocol.Client{Id: c.ID, Secret: c.Secret.Reveal(), PrivateKey: c.PrivateKey.Reveal(), PrivateKeyId: c.PrivateKeyID}
}

// secretsOf returns what a call shows and no error may repeat, as it is written
// and as it reads without the escapes of a URL.
func secretsOf(c broker.Connection, texts ...string) []string {
	for _, text := range slices.Clone(texts) {
		if plain, err := url.QueryUnescape(text); err == nil {
			texts = append(texts, plain)
		}
	}
	return append(texts, c.Client.Secret.Reveal(), c.Client.PrivateKey.Reveal())
}

const (
	maxMessage = 300 // characters of a plugin's words
	minSecret  = 8   // shorter words of a text are no secrets of any use
)

// redacted returns a plugin's words as far as people can be shown them: nothing of
// them, if any word is part of what it was shown.
func redacted(message string, secrets []string) string {
	bared := make([]string, len(secrets))
	for i, secret := range secrets {
		bared[i] = bare(secret)
	}
	for word := range strings.FieldsFuncSeq(message, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(`"'=:,;()`, r) }) {
		word = bare(word)
		if len(word) >= minSecret && slices.ContainsFunc(bared, func(secret string) bool { return strings.Contains(secret, word) }) {
			return "(its words are kept back, since they hold a part of what it was shown)"
		}
	}
	return printable(message, maxMessage)
}

// bare returns the letters and digits of a text: what is left of a secret however
// it is quoted.
func bare(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return -1
	}, text)
}

// printable returns text without what moves a terminal's cursor, and not too long.
func printable(text string, limit int) string {
	clean := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "�"))
	if runes := []rune(clean); len(runes) > limit {
		clean = string(runes[:limit]) + "…"
	}
	return clean
}

// told returns how a call failed, without the words of the plugin.
func told(err error) string {
	switch code := status.Code(err); code {
	case codes.DeadlineExceeded:
		return "it did not answer in time"
	case codes.ResourceExhausted:
		return fmt.Sprintf("its answer is longer than %d bytes", protocol.MaxMessage)
	case codes.Unavailable:
		return "it ended, or hung up"
	default:
		return "it answered " + code.String()
	}
}
