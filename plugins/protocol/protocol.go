// Package protocol is what passes between the daemon and a plugin, generated
// from provider.proto, and the handshake before it.
package protocol

//go:generate go -C ../../.ci/tools run ./protoc ../../plugins/protocol/provider.proto

// Version is the protocol's own, which go-plugin compares in the handshake.
// Within it fields and methods are added and nothing is changed: a plugin built
// for version 1 runs under every daemon that speaks version 1.
const Version = 1

// The magic cookie of go-plugin's handshake. It protects nothing: it lets a
// plugin that a person started by hand say what it is.
const (
	CookieKey   = "INVECTD_PLUGIN"
	CookieValue = "provider"
)

// Service is the name under which go-plugin's own maps know the service.
const Service = "provider"

// MaxMessage is how many bytes a request or an answer may have.
const MaxMessage = 1 << 20

// The hooks that a plugin may declare and an operator may grant.
const (
	HookAuthorizationURL = "authorization_url"
	HookCallback         = "callback"
	HookTokenRequest     = "token_request"
	HookTokenResponse    = "token_response"
)
