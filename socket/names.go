package socket

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
)

// checkNames refuses what encoding/json would take: a name that stands twice in
// an object, of which others may take the other one, and a field in another case
// than the contract's. body is a valid JSON object.
func checkNames(body []byte, into reflect.Type) error {
	fields := fieldNames(into)
	decoder := json.NewDecoder(bytes.NewReader(body))
	var open []map[string]bool // the names of the objects around; nil for a list
	name := true               // whether a name may come next
	for {
		token, err := decoder.Token()
		if err != nil {
			return nil // the end; what else there is to say the decoder says
		}
		inObject := len(open) > 0 && open[len(open)-1] != nil
		switch token := token.(type) {
		case json.Delim:
			switch token {
			case '{':
				open, name = append(open, map[string]bool{}), true
				continue
			case '[':
				open = append(open, nil)
				continue
			}
			open = open[:len(open)-1]
		case string:
			if inObject && name {
				seen := open[len(open)-1]
				if seen[token] {
					return invalidRequest(token, "stands there twice")
				}
				if right, ok := fields[strings.ToLower(token)]; len(open) == 1 && ok && right != token {
					return invalidRequest(token, "there is no such field; mind the case")
				}
				seen[token], name = true, false
				continue
			}
		}
		name = true // a value has ended
	}
}

// fieldNames are the JSON names of a struct by their lower case.
func fieldNames(t reflect.Type) map[string]string {
	names := map[string]string{}
	if t.Kind() != reflect.Struct {
		return names
	}
	for _, field := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" {
			names[strings.ToLower(name)] = name
		}
	}
	return names
}
