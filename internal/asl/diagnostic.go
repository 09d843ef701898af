package asl

import (
	"fmt"
	"strings"
)

// Diagnostic is one thing that is wrong with a definition, in the words of
// ValidateStateMachineDefinition.
type Diagnostic struct {
	Code     string `json:"code"`
	Message  string `json:"message"`
	Location string `json:"location,omitempty"` // JSON pointer, "/States/Name"
}

// Codes of diagnostics.
const (
	InvalidJSON       = "INVALID_JSON_DESCRIPTION"
	SchemaInvalid     = "SCHEMA_VALIDATION_FAILED"
	MissingTarget     = "MISSING_TRANSITION_TARGET"
	MissingEnd        = "NO_TERMINAL_STATE"
	Unreachable       = "UNREACHABLE_STATE"
	NotImplemented    = "QUERY_LANGUAGE_NOT_SUPPORTED"
	jsonataSentence   = "The query language JSONata is not supported here: write the state in JSONPath"
	definitionTooLong = "The definition is longer than 1 MB"
)

// maxDefinition is what CreateStateMachine takes, in bytes.
const maxDefinition = 1 << 20

// InvalidDefinition is a definition that cannot be run, with everything that is
// wrong with it.
type InvalidDefinition struct{ Diagnostics []Diagnostic }

func (e *InvalidDefinition) Error() string {
	var b strings.Builder
	b.WriteString("Invalid State Machine Definition: '")
	for i, d := range e.Diagnostics {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(d.Code + ": " + d.Message)
		if d.Location != "" {
			fmt.Fprintf(&b, " at %s", d.Location)
		}
	}
	b.WriteString("'")
	return b.String()
}
