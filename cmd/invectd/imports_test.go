package main

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/invectd/invectd/"

// arrows are the imports that each package of the module may have of others in
// it. A package that is not named may have none.
var arrows = map[string][]string{
	"broker":                            {},
	"broker/brokertest":                 {"broker"},
	"broker/store":                      {"broker"},
	"broker/audit":                      {"broker"},
	"broker/oauth":                      {"broker"},
	"refresher":                         {"broker"},
	"plugins":                           {"broker"},
	"plugins/catalog":                   {"broker", "plugins"},
	"plugins/catalog/internal/generate": {"broker", "plugins"},
	"plugins/protocol":                  {},
	"plugins/host":                      {"broker", "plugins", "plugins/protocol"},
	"plugins/sdk":                       {"broker", "plugins/protocol"},
	"plugins/sdk/sdktest":               {"broker", "plugins", "plugins/protocol", "plugins/sdk"},
	"plugins/example":                   {"plugins/sdk"},
	"plugins/example/github_app":        {"broker", "plugins/sdk"},
	"socket":                            {"broker", "socket/client"},
	"socket/client":                     {"broker"},
	"metrics":                           {"broker", "refresher", "socket", "plugins", "plugins/host"},
	"cmd/invectd/internal/sandbox":      {},
	"cmd/invectd/internal/policyfile":   {"broker"},
	"cmd/invectd": {
		"broker", "broker/audit", "broker/store", "broker/oauth", "refresher", "plugins", "plugins/catalog", "plugins/host",
		"socket", "socket/client", "metrics", "cmd/invectd/internal/sandbox", "cmd/invectd/internal/policyfile",
	},
}

// owners are the only packages that may import a library.
var owners = map[string][]string{
	"github.com/dgraph-io/badger":              {"broker/store"},
	"golang.org/x/oauth2":                      {"broker/oauth"},
	"github.com/prometheus/":                   {"metrics"},
	"github.com/hashicorp/go-plugin":           {"plugins/host", "plugins/sdk"},
	"github.com/zitadel/oidc":                  {"cmd/invectd/internal/sandbox"},
	"github.com/spf13/":                        {"cmd/invectd"},
	"github.com/fsnotify/fsnotify":             {"cmd/invectd/internal/policyfile", "plugins", "plugins/host"},
	"github.com/invectd/invectd/socket/client": {"socket", "cmd/invectd"},
}

// TestImports keeps the direction of ARCHITECTURE.md: imports point down, the
// domain imports the standard library only, and each library has one importer.
func TestImports(t *testing.T) {
	packages := listPackages(t)
	if len(packages) < len(arrows) {
		t.Fatalf("go list found %d packages, want at least %d", len(packages), len(arrows))
	}
	for _, p := range packages {
		name := strings.TrimPrefix(p.ImportPath, module)
		for _, imported := range p.Imports {
			if own, ok := strings.CutPrefix(imported, module); ok {
				if !slices.Contains(arrows[name], own) {
					t.Errorf("%s imports %s, which points up or sideways", name, own)
				}
			} else if name == "broker" && strings.Contains(strings.SplitN(imported, "/", 2)[0], ".") {
				t.Errorf("broker imports %s, want the standard library only", imported)
			}
			for library, who := range owners {
				if strings.HasPrefix(imported, library) && !slices.Contains(who, name) {
					t.Errorf("%s imports %s, which belongs to %v", name, imported, who)
				}
			}
		}
	}
}

type listedPackage struct {
	ImportPath string
	Imports    []string
}

func listPackages(t *testing.T) []listedPackage {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []listedPackage
	for decoder := json.NewDecoder(strings.NewReader(string(out))); decoder.More(); {
		var p listedPackage
		if err := decoder.Decode(&p); err != nil {
			t.Fatalf("go list printed no JSON: %v", err)
		}
		packages = append(packages, p)
	}
	return packages
}
