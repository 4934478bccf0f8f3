package plugins

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// fieldsOf returns the fields of a struct by the names that they have in JSON.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	fields := make(map[string]reflect.Type, t.NumField())
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		fields[name] = field.Type
	}
	return fields
}

// namesOf returns the sorted JSON names of the fields of a struct.
func namesOf(t reflect.Type) []string {
	return slices.Sorted(maps.Keys(fieldsOf(t)))
}

// hint says which of the known names was meant, or lists them where none is
// near.
func hint(name string, known []string) string {
	best, least := "", len(name)/3+2
	for _, candidate := range known {
		if d := distance(folded(name), folded(candidate)); d < least {
			best, least = candidate, d
		}
	}
	if best != "" {
		return fmt.Sprintf("; write %q", best)
	}
	return "; write one of " + strings.Join(known, ", ")
}

// folded makes token_url, Token-URL and tokenUrl the same.
func folded(name string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(name))
}

// maxDistance is what names that have nothing in common are apart, and bounds
// the work on long ones.
const maxDistance = 64

// distance counts the letters to insert, remove or replace to make b of a
// (Levenshtein).
func distance(a, b string) int {
	if max(len(a), len(b)) > maxDistance {
		return maxDistance
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
