package sdk

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/invectd/invectd/plugins/protocol"
)

// NewServer returns the gRPC service of a plugin. [Serve] runs it in the
// handshake of go-plugin; tests serve it as they like.
func NewServer(p Plugin) protocol.ProviderServer { return &server{plugin: p} }

type server struct {
	protocol.UnimplementedProviderServer
	plugin Plugin
}

// Describe implements [protocol.ProviderServer].
func (s *server) Describe(context.Context, *protocol.DescribeRequest) (*protocol.DescribeResponse, error) {
	out := &protocol.DescribeResponse{Version: s.plugin.Version}
	for _, p := range s.plugin.Providers {
		definition, err := json.Marshal(p.Definition)
		if err != nil {
			return nil, status.Errorf(codes.FailedPrecondition, "the definition of provider %q: %v", p.Definition.ID, err)
		}
		out.Providers = append(out.Providers, &protocol.ProviderDefinition{Definition: definition, Hooks: p.hooks()})
	}
	return out, nil
}

// hooks are the names of the functions that are there.
func (p *Provider) hooks() []string {
	declared := map[string]bool{
		protocol.HookAuthorizationURL: p.AuthorizationURL != nil,
		protocol.HookCallback:         p.Callback != nil,
		protocol.HookTokenRequest:     p.TokenRequest != nil,
		protocol.HookTokenResponse:    p.TokenResponse != nil,
	}
	maps.DeleteFunc(declared, func(_ string, is bool) bool { return !is })
	return slices.Sorted(maps.Keys(declared))
}

// provider returns the one with that id and the hook, or an error of its own.
func (s *server) provider(id, hook string) (*Provider, error) {
	for i := range s.plugin.Providers {
		p := &s.plugin.Providers[i]
		if p.Definition.ID == id && slices.Contains(p.hooks(), hook) {
			return p, nil
		}
	}
	return nil, status.Errorf(codes.Unimplemented, "provider %q has no hook %s", id, hook)
}

// failed makes an author's error the status that the protocol asks for.
func failed(err error) error { return status.Error(codes.FailedPrecondition, err.Error()) }

// AuthorizationURL implements [protocol.ProviderServer].
func (s *server) AuthorizationURL(ctx context.Context, r *protocol.AuthorizationURLRequest) (*protocol.AuthorizationURLResponse, error) {
	p, err := s.provider(r.GetProviderId(), protocol.HookAuthorizationURL)
	if err != nil {
		return nil, err
	}
	url, err := p.AuthorizationURL(ctx, AuthorizationURLRequest{ProviderID: r.GetProviderId(), Inputs: r.GetInputs(), URL: r.GetUrl()})
	if err != nil {
		return nil, failed(err)
	}
	return &protocol.AuthorizationURLResponse{Url: url}, nil
}

// Callback implements [protocol.ProviderServer].
func (s *server) Callback(ctx context.Context, r *protocol.CallbackRequest) (*protocol.CallbackResponse, error) {
	p, err := s.provider(r.GetProviderId(), protocol.HookCallback)
	if err != nil {
		return nil, err
	}
	err = p.Callback(ctx, CallbackRequest{
		ProviderID: r.GetProviderId(), Inputs: r.GetInputs(), Client: clientOf(r.GetClient()), Query: r.GetQuery(),
	})
	if err != nil {
		return nil, failed(err)
	}
	return &protocol.CallbackResponse{}, nil
}

// TokenRequest implements [protocol.ProviderServer].
func (s *server) TokenRequest(ctx context.Context, r *protocol.TokenRequestRequest) (*protocol.TokenRequestResponse, error) {
	p, err := s.provider(r.GetProviderId(), protocol.HookTokenRequest)
	if err != nil {
		return nil, err
	}
	http := r.GetRequest()
	request := &TokenRequest{
		ProviderID: r.GetProviderId(), Inputs: r.GetInputs(), Client: clientOf(r.GetClient()), Operation: r.GetOperation(),
		HTTP: HTTPRequest{Method: http.GetMethod(), URL: http.GetUrl(), Headers: present(http.GetHeaders()), Body: http.GetBody()},
	}
	if err := p.TokenRequest(ctx, request); err != nil {
		return nil, failed(err)
	}
	return &protocol.TokenRequestResponse{Request: &protocol.HTTPRequest{
		Method: request.HTTP.Method, Url: request.HTTP.URL, Headers: request.HTTP.Headers, Body: request.HTTP.Body,
	}}, nil
}

// TokenResponse implements [protocol.ProviderServer].
func (s *server) TokenResponse(ctx context.Context, r *protocol.TokenResponseRequest) (*protocol.TokenResponseResponse, error) {
	p, err := s.provider(r.GetProviderId(), protocol.HookTokenResponse)
	if err != nil {
		return nil, err
	}
	http := r.GetResponse()
	response := &TokenResponse{
		ProviderID: r.GetProviderId(), Inputs: r.GetInputs(), Operation: r.GetOperation(),
		HTTP: HTTPResponse{Status: int(http.GetStatus()), Headers: present(http.GetHeaders()), Body: http.GetBody()},
	}
	if err := p.TokenResponse(ctx, response); err != nil {
		return nil, failed(err)
	}
	return &protocol.TokenResponseResponse{Response: &protocol.HTTPResponse{
		Status: int32(response.HTTP.Status), Headers: response.HTTP.Headers, Body: response.HTTP.Body,
	}}, nil
}

// present spares hooks a nil map that they cannot write to.
func present(headers map[string]string) map[string]string {
	if headers == nil {
		return map[string]string{}
	}
	return headers
}

func clientOf(c *protocol.Client) Client {
	return Client{ID: c.GetId(), Secret: c.GetSecret(), PrivateKey: c.GetPrivateKey(), PrivateKeyID: c.GetPrivateKeyId()}
}
