package socket

import (
	"testing"
)

func TestNames(t *testing.T) {
	for body, taken := range map[string]bool{
		`{"name":"a","authType":"bearer"}`:                       true,
		`{"name":"a","Name":"b"}`:                                false,
		`{"NAME":"a"}`:                                           false,
		`{"AuthType":"bearer"}`:                                  false,
		`{"authtype":"bearer"}`:                                  false,
		`{"name":"a","name":"b"}`:                                false,
		`{"name":"a","n\u0061me":"b"}`:                           false,
		`{"config":{"a":1,"a":2}}`:                               false,
		`{"config":{"a":{"b":[{"c":1,"c":2}]}}}`:                 false,
		`{"config":{"a":"a","b":["b","b",{"b":"b"}],"c":{}}}`:    true,
		`{"config":{"Name":"x","name":"y"},"metadata":{"a":[]}}`: true,
	} {
		var into credentialBody
		if err := decodeObject([]byte(body), &into); (err == nil) != taken {
			t.Errorf("decodeObject(%s) = %v, want taken %v", body, err, taken)
		}
	}
}
