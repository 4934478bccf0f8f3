package socket

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/invectd/invectd/socket/client"
)

// TestBadBodiesChangeNothing sends what is wrong in every way to every endpoint
// that takes a body.
func TestBadBodiesChangeNothing(t *testing.T) {
	f := newFixture(t)
	c := f.oauth(t, "mail", time.Hour)
	before := f.do(t, "GET", "/credentials/mail", "").body
	const jsonType = "application/json"
	for _, test := range []struct {
		name, body, kind string
		status           int
		code             string
	}{
		{"empty", "", jsonType, 400, "invalid_json"},
		{"no type", `{"name":"x"}`, "", 415, "unsupported_media_type"},
		{"form", "name=x", "application/x-www-form-urlencoded", 415, "unsupported_media_type"},
		{"text", `{"name":"x"}`, "text/plain; charset=utf-8", 415, "unsupported_media_type"},
		{"bad type", `{"name":"x"}`, "application/json;;;=", 415, "unsupported_media_type"},
		{"cut off", `{"name":"x"`, jsonType, 400, "invalid_json"},
		{"no JSON", "name", jsonType, 400, "invalid_json"},
		{"trailing", `{"name":"x"} {}`, jsonType, 400, "invalid_json"},
		{"trailing text", `{"name":"x"}x`, jsonType, 400, "invalid_json"},
		{"white space", " \n", jsonType, 400, "invalid_json"},
		{"not UTF-8", "{\"name\":\"\xff\"}", jsonType, 400, "invalid_json"},
		{"BOM", "\uFEFF{}", jsonType, 400, "invalid_json"},
		{"null", "null", jsonType, 400, "invalid_request"},
		{"list", "[]", jsonType, 400, "invalid_request"},
		{"text value", `"x"`, jsonType, 400, "invalid_request"},
		{"unknown field", `{"nmae":"x"}`, jsonType, 400, "invalid_request"},
		{"too deep", `{"config":{"a":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + "}}", jsonType, 400, "invalid_json"},
		{"too large", `{"name":"` + strings.Repeat("x", 64<<10) + `"}`, jsonType, 413, "too_large"},
		{"much too large", `{"name":"` + strings.Repeat("x", 1<<20) + `"}`, jsonType, 413, "too_large"},
	} {
		for _, target := range []string{
			"POST /credentials", "PUT /credentials/mail", "PATCH /credentials/" + c.ID, "POST /credentials/mail/rejected",
			"POST /credentials/oauth2/start", "POST /credentials/oauth2/callback", "POST /credentials/oauth2/providers",
			"PUT /credentials/oauth2/providers/acme", "PUT /credentials/oauth2/apps/acme",
		} {
			method, path, _ := strings.Cut(target, " ")
			got := f.do(t, method, path, test.body, "Content-Type", test.kind)
			var body client.ErrorBody
			if err := json.Unmarshal([]byte(got.body), &body); err != nil || got.status != test.status || body.Code != test.code {
				t.Errorf("%s: %s = %d %s, want %d %s", test.name, target, got.status, got.body, test.status, test.code)
			}
		}
	}
	if after := f.do(t, "GET", "/credentials/mail", "").body; after != before || f.count(t) != 1 {
		t.Errorf("credential = %s, want it as before: %s", after, before)
	}
	if apps, err := f.client.Apps(t.Context()); err != nil || len(apps) != 0 {
		t.Errorf("Apps = %v, %v, want none", apps, err)
	}
}

func TestMisfitsNameTheField(t *testing.T) {
	f := newFixture(t)
	f.oauth(t, "mail", time.Hour)
	for _, test := range []struct{ target, body, path, message string }{
		{"POST /credentials", `{"name":7}`, "name", "has to be a string"},
		{"POST /credentials", `{"name":{"secret":1}}`, "name", "has to be a string"},
		{"POST /credentials", `{"config":"sk-secret"}`, "config", "an object"},
		{"POST /credentials", `{"isActive":"yes-secret"}`, "isActive", "true or false"},
		{"POST /credentials", `{"description":["secret"]}`, "description", "a string"},
		{"PATCH /credentials/mail", `{"workspaceId":12345}`, "workspaceId", "a string"},
		{"POST /credentials", `{"confg":{}}`, "confg", "no such field"},
		{"POST /credentials", `{"authType":"bearer","config":{}}`, "config.token", "needs it"},
		{"POST /credentials/mail/rejected", `{"generation":"7"}`, "generation", "a whole number"},
		{"POST /credentials/mail/rejected", `{"generation":-7}`, "generation", "a whole number"},
		{"POST /credentials/mail/rejected", `{"generation":7.5}`, "generation", "a whole number"},
		{"POST /credentials/mail/rejected", `{"generation":9}`, "generation", "at generation 1"},
		{"POST /credentials/mail/rejected", `{}`, "generation", "which token"},
		{"POST /credentials/oauth2/start", `{"scopes":"read"}`, "scopes", "has to be a list"},
		{"POST /credentials/oauth2/start", `{"scopes":[1]}`, "scopes", "each value in it has to be a string"},
		{"POST /credentials/oauth2/start", `{"inputs":{"tenant":1}}`, "inputs", "each value in it has to be a string"},
		{"POST /credentials/oauth2/start", `{"providerId":"acme","clientId":"x","params":{"client_id":"y"}}`, "params.client_id", "protocol"},
		{"POST /credentials/oauth2/callback", `{"code":{}}`, "code", "a string"},
		{"PUT /credentials/oauth2/apps/acme", `{"clientSecret":99887766}`, "clientSecret", "a string"},
		{"PUT /credentials/oauth2/providers/acme", `{"tokenRequest":{"headers":{"a":1}}}`, "tokenRequest.headers", "each value in it has to be a string"},
		{"PUT /credentials/oauth2/providers/acme", `{"tokenResponse":{"defaultExpiresIn":"1h"}}`, "tokenResponse.defaultExpiresIn", "a whole number"},
		{"POST /credentials/mail/refresh", `{"force":true}`, "force", "no such field"},
		{"POST /credentials/mail/test", `{"userId":3,"x":1}`, "x", "no such field"},
	} {
		method, path, _ := strings.Cut(test.target, " ")
		got := f.do(t, method, path, test.body)
		var body client.ErrorBody
		if err := json.Unmarshal([]byte(got.body), &body); err != nil || got.status != http.StatusBadRequest || body.Code != "invalid_request" || len(body.Details) != 1 {
			t.Errorf("%s %s = %d %s, want 400 invalid_request with one detail", test.target, test.body, got.status, got.body)
			continue
		}
		if body.Details[0].Path != test.path || !strings.Contains(body.Details[0].Message, test.message) {
			t.Errorf("%s %s: detail %+v, want path %q and %q", test.target, test.body, body.Details[0], test.path, test.message)
		}
		for _, value := range []string{"secret", "12345", "99887766"} {
			if strings.Contains(got.body, value) {
				t.Errorf("%s %s: the error quotes a value: %s", test.target, test.body, got.body)
			}
		}
	}
	if f.count(t) != 1 {
		t.Errorf("%d credentials, want 1", f.count(t))
	}
}

// TestCutOffBody announces more than it sends.
func TestCutOffBody(t *testing.T) {
	f := newFixture(t)
	conn, err := net.Dial("unix", f.path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := `{"authType":"bearer","config":{"token":"t"}}`
	request := "POST /credentials HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n" + body
	if _, err := conn.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 1024)
	n, _ := conn.Read(answer)
	if !bytes.HasPrefix(answer[:n], []byte("HTTP/1.1 400 ")) {
		t.Errorf("answer = %s, want 400", answer[:n])
	}
	if f.count(t) != 0 {
		t.Error("half a body made a credential")
	}
}

// FuzzDecode: what is accepted is a JSON object in UTF-8 and survives a round
// trip; what is not is a refusal that quotes nothing.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"name":"x","config":{"a":[1,2.5e300,{"b":null}]},"description":null}`, `{"name":1}`, `{"x":1}`, `null`, ` [] `,
		"{\"name\":\"\xff\"}", `{"name":"\ud800"}`, `{"name":"a","name":"b"}`, `{"config":{"":1e999999}}`, `{"workspaceId":false}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, second credentialBody
		err := decodeObject(data, &first)
		if err != nil {
			if e, ok := errors.AsType[*refusal](err); !ok || e.status != http.StatusBadRequest || e.message == "" {
				t.Fatalf("decodeObject(%q) = %v, want a refusal with status 400", data, err)
			}
			return
		}
		if !utf8.Valid(data) || !json.Valid(data) {
			t.Fatalf("decodeObject(%q) took what is no JSON in UTF-8", data)
		}
		again, err := json.Marshal(map[string]any{
			"name": first.Name, "type": first.Type, "authType": first.AuthType, "provider": first.Provider,
			"config": first.Config, "metadata": first.Metadata, "isActive": first.IsActive, "isShared": first.IsShared,
		})
		if err != nil {
			t.Fatalf("Marshal of what %q gave: %v", data, err)
		}
		if err := decodeObject(again, &second); err != nil {
			t.Fatalf("decodeObject(%q), from %q: %v", again, data, err)
		}
		first.Description, first.WorkspaceID = nil, nil
		if !reflect.DeepEqual(first, second) {
			t.Fatalf("%q gave %+v, and again %+v", data, first, second)
		}
	})
}
