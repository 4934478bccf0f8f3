// Package broker is the domain of invectd: credentials and their tokens, the
// authorizations in flight that make them, the definitions of providers, who
// may ask for what, and the use cases that tie these together.
//
// It imports the standard library only. What it needs from outside it names as
// small interfaces, which the packages above it implement and cmd/invectd wires:
//
//   - [Store] keeps records durably (broker/store),
//   - [AuthorizationServer] speaks to providers (broker/oauth),
//   - [Refresher] is the only spender of refresh tokens (refresher),
//   - [Definitions] looks providers up (plugins),
//   - [Auditor] writes down what was decided.
//
// [Tokens] is the memory of what was committed. The broker and the refresher
// both hold it and neither knows the other; only a committed credential is ever
// put there, so a token that a caller has seen survives a power cut.
//
// # Differences from the RFCs
//
//   - RFC 6749, section 5.1: token_type is answered as "Bearer" to callers
//     whatever the provider calls it, since vendors write "bearer", "user" or
//     "bot" and mean RFC 6750.
//   - RFC 6749, section 6: the refresh token of an earlier answer is kept where
//     an answer brings none.
//   - RFC 7636: PKCE with S256 is sent unless the definition says none; "plain"
//     is never sent.
//   - RFC 7009: tokens that a reconnect replaces are not revoked. Section 2.1 lets
//     a server end the whole grant with one token, as several vendors do, and the
//     tokens that just came are of the same grant. A second token that came with
//     another is a credential of its own, and is revoked with that alone.
package broker
