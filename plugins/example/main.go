// Command my_service is the smallest provider plugin: a definition and nothing
// else. Build it into the plugins folder, then trust it:
//
//	go build -o "$DATA_DIR/plugins/my_service" ./plugins/example
//	invectd plugins trust my_service
package main

import "github.com/invectd/invectd/plugins/sdk"

var plugin = sdk.Plugin{Version: "1.0.0", Providers: []sdk.Provider{{
	Definition: sdk.Definition{
		ID:               "my_service",
		Name:             "My Service",
		AuthorizationURL: "https://myservice.com/oauth/authorize",
		TokenURL:         "https://myservice.com/oauth/token",
		DefaultScopes:    []string{"read", "write"},
		DocsURL:          "https://myservice.com/docs",
	},
}}}

func main() { sdk.Serve(plugin) }
