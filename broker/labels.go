package broker

import (
	"encoding/json"
	"strconv"
)

// Labels returns what a policy can match of a credential's metadata: the texts,
// numbers and truth values of its first level, as texts.
func Labels(metadata map[string]any) map[string]string {
	labels := make(map[string]string, len(metadata))
	for key, value := range metadata {
		switch v := value.(type) {
		case string:
			labels[key] = v
		case bool:
			labels[key] = strconv.FormatBool(v)
		case float64:
			labels[key] = strconv.FormatFloat(v, 'f', -1, 64)
		case json.Number:
			labels[key] = v.String()
		}
	}
	return labels
}
