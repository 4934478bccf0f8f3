package host

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/invectd/invectd/broker"
)

// TestNode runs a plugin of another language, built from what npm brings.
func TestNode(t *testing.T) {
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("there is no %s, so the plugin in JavaScript is not run", program)
		}
	}
	if path, err := exec.LookPath("node"); err != nil || filepath.Dir(path) != "/usr/bin" && filepath.Dir(path) != "/usr/local/bin" {
		t.Skipf("node is at %s, where a confined plugin cannot read", path)
	}
	source, err := filepath.Abs("../example/node")
	if err != nil {
		t.Fatal(err)
	}
	// The proto file is two folders up.
	folder := filepath.Join(t.TempDir(), "plugins", "example", "node")
	for _, needed := range []string{folder, filepath.Join(folder, "../../protocol")} {
		if err := os.MkdirAll(needed, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for from, to := range map[string]string{
		filepath.Join(source, "plugin.js"):                     "plugin.js",
		filepath.Join(source, "package.json"):                  "package.json",
		filepath.Join(source, "package-lock.json"):             "package-lock.json",
		filepath.Join(source, "../../protocol/provider.proto"): "../../protocol/provider.proto",
	} {
		content, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, to), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	install := exec.CommandContext(t.Context(), "npm", "ci", "--no-audit", "--no-fund", "--prefer-offline")
	install.Dir = folder
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("npm cannot install what the plugin in JavaScript needs, so it is not run: %v\n%s", err, out)
	}
	build := exec.CommandContext(t.Context(), "npm", "run", "build")
	build.Dir = folder
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("npm run build: %v\n%s", err, out)
	}

	f := newFixture(t, nil)
	program, err := os.ReadFile(filepath.Join(folder, "node_service"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.dir, "node_service"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	f.scan()
	if p := f.trust(t, "node_service", broker.HookTokenRequest); p.State != broker.PluginRunning || p.Error != "" {
		t.Fatalf("node_service = %s: %s, want it running; the log:\n%s", p.State, p.Error, f.log)
	}
	d, err := f.registry.Definition("node_service")
	if err != nil {
		t.Fatal(err)
	}
	c := broker.Connection{Definition: d.Definition, Client: broker.Client{ID: "client", Secret: broker.NewSecret("key")}}
	got, err := f.TokenRequest(t.Context(), c, "exchange", broker.HookRequest{Method: "POST", URL: "https://node.example/oauth/token", Body: []byte("code=c")})
	// printf code=c | openssl dgst -sha256 -hmac key
	const want = "eb6d357648d87b46d77cb48ea7b59a76b990fa69b151b47cda907f7f1b7810d0"
	if err != nil || got.Headers["X-Signature"] != want || string(got.Body) != "code=c" {
		t.Errorf("TokenRequest() = %+v, %v, want the signature %s", got, err, want)
	}
}
