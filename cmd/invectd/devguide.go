package main

import (
	"os"
	"os/exec"
	"text/template"
	"time"

	"github.com/invectd/invectd/cmd/invectd/internal/sandbox"
)

// guide is what to type next. The alias is there where the shell would not find
// this program, or another one.
var guide = template.Must(template.New("guide").Parse(`invectd runs, with a sandbox provider whose tokens live for {{.Lifetime}}. In another terminal:

  export INVECT_SOCKET={{.Socket}}
{{- if .Alias}}
  alias invectd={{.Alias}}
{{- end}}

  # {{.Robot}} is a connection that needs no person; ask twice, {{.Lifetime}} apart
  curl --unix-socket $INVECT_SOCKET http://localhost/credentials/{{.Robot}}/token
  invectd token {{.Robot}} --json

  # connect as a person does: press Allow in the browser, then use the token
  invectd connect {{.Provider}} --name demo
  invectd list
  invectd header demo | curl -H @- {{.Resource}}
  invectd exec demo -- sh -c 'echo $ACCESS_TOKEN'

  # an API key is a credential too
  echo sk-123 | invectd create --name key --auth-type apiKey --secret-file -
  invectd header key

  # revoke and forget
  invectd delete demo --revoke
  invectd status

Ctrl-C ends it{{if .Temporary}}, and nothing is left behind{{end}}.
`))

func (f *devFlags) printGuide(socket string, server *sandbox.Server) error {
	return guide.Execute(f.stdout, map[string]any{
		"Socket": socket, "Lifetime": f.lifetime.Round(time.Millisecond), "Alias": aliasOf(), "Robot": devRobot,
		"Provider": devProvider, "Resource": server.Endpoints().Resource, "Temporary": f.temporary,
	})
}

// aliasOf is the path of this program, "" where the shell finds it by its name.
func aliasOf() string {
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	if found, err := exec.LookPath("invectd"); err == nil && sameFile(found, self) {
		return ""
	}
	return self
}

func sameFile(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}
