package plugins

import (
	"encoding/json"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// readable returns JSON with the two escapes that the YAML decoder does not know
// replaced by what they stand for: a slash, and characters beyond U+FFFF, which
// JSON writes as two. Lines stay the same, and what is no JSON too.
func readable(data []byte) []byte {
	if !json.Valid(data) {
		return data
	}
	out := make([]byte, 0, len(data))
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' {
			out = append(out, data[i])
			continue
		}
		// JSON has a backslash in strings alone, and always something after it.
		i++
		switch first := codeUnit(data[i:]); {
		case data[i] == '/':
			out = append(out, '/')
		case utf16.IsSurrogate(first):
			i += 4
			pair := utf8.RuneError
			if next := data[i+1:]; next[0] == '\\' { // at least the closing quote is left
				pair = utf16.DecodeRune(first, codeUnit(next[1:]))
			}
			if pair != utf8.RuneError {
				i += 6
			}
			out = utf8.AppendRune(out, pair)
		default:
			out = append(out, '\\', data[i])
		}
	}
	return out
}

// codeUnit reads uXXXX, 0 if data does not begin with that.
func codeUnit(data []byte) rune {
	if len(data) < 5 || data[0] != 'u' {
		return 0
	}
	n, err := strconv.ParseUint(string(data[1:5]), 16, 16)
	if err != nil {
		return 0
	}
	return rune(n)
}
