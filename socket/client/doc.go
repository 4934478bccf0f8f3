// Package client speaks to invectd over its Unix socket: the contract's JSON as
// Go types, which the server renders too, and a method for every endpoint.
//
//	c := client.New("/run/invectd/invectd.sock")
//	token, err := c.Token(ctx, "Work mail", client.ReadOptions{})
//
// It knows nothing of where sockets are by default and prints nothing; both are
// for the program that uses it.
package client
