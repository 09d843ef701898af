// Package statemachines holds the only orchestrators of BuildIt, as files of the
// Amazon States Language (JSONPath), embedded. A file names functions as ${name};
// every home puts its own in their place.
package statemachines

import _ "embed"

// Pipeline owns a run: its timeout, its cancel, its end.
//
//go:embed pipeline.asl.json
var Pipeline []byte

// Stage owns one attempt of one stage: its task, and what became of it.
//
//go:embed stage.asl.json
var Stage []byte

// All are the machines by name.
func All() map[string][]byte {
	return map[string][]byte{"pipeline": Pipeline, "stage": Stage}
}
