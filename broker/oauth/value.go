package oauth

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/invectd/invectd/broker"
)

// maxDepth is how deep an answer may be nested.
const maxDepth = 32

// parseJSON reads one JSON text, more strictly than encoding/json does: it is
// UTF-8, no object has a name twice, and nothing follows. Numbers stay
// [json.Number].
func parseJSON(body []byte) (any, error) {
	if !utf8.Valid(body) || !json.Valid(body) {
		return nil, errNotJSON
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	return parseValue(d, maxDepth)
}

func parseValue(d *json.Decoder, depth int) (any, error) {
	token, err := d.Token()
	if err != nil || depth == 0 {
		return nil, errNotJSON
	}
	switch token {
	case json.Delim('{'):
		return parseObject(d, depth)
	case json.Delim('['):
		return parseArray(d, depth)
	}
	return token, nil
}

func parseObject(d *json.Decoder, depth int) (any, error) {
	object := map[string]any{}
	for d.More() {
		token, err := d.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return nil, errNotJSON
		}
		if _, twice := object[name]; twice {
			return nil, errDuplicate
		}
		if object[name], err = parseValue(d, depth-1); err != nil {
			return nil, err
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, errNotJSON
	}
	return object, nil
}

func parseArray(d *json.Decoder, depth int) (any, error) {
	list := []any{}
	for d.More() {
		value, err := parseValue(d, depth-1)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	if _, err := d.Token(); err != nil {
		return nil, errNotJSON
	}
	return list, nil
}

// lookup follows a dotted path through objects, by name, and lists, by index
// from 0.
func lookup(value any, path string) (any, bool) {
	for step := range strings.SplitSeq(path, ".") {
		switch inner := value.(type) {
		case map[string]any:
			next, ok := inner[step]
			if !ok {
				return nil, false
			}
			value = next
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(inner) {
				return nil, false
			}
			value = inner[i]
		default:
			return nil, false
		}
	}
	return value, true
}

// firstAt returns the value at the first path that has one. null, false and ""
// are what vendors write for none.
func firstAt(value any, paths broker.Paths) any {
	for _, path := range paths {
		found, ok := lookup(value, path)
		if ok && found != nil && found != false && found != "" {
			return found
		}
	}
	return nil
}

// textAt returns the string or number at a path, "" for anything else.
func textAt(value any, path string) string {
	found, _ := lookup(value, path)
	switch found := found.(type) {
	case string:
		return found
	case json.Number:
		return found.String()
	}
	return ""
}
