// Package plugins is the registry of provider definitions: those that are built
// in (plugins/catalog), those that operators write as files, and the API's own.
//
// It knows where definitions come from and which of them is in force. What a
// definition means, and when it is valid, is left to [broker.Definition].
package plugins
