package asl

import (
	"encoding/json"
	"fmt"
	"time"
)

// Event is one event of an execution's history, as GetExecutionHistory words it.
type Event struct {
	ID       int64
	Previous int64 // of the event that it follows from, in its branch
	Type     string
	At       time.Time
	Details  Details // nil where the type has none
}

// Details are what an event tells beside its type.
type Details interface {
	// field is the name of the object in GetExecutionHistory.
	field() string
}

// payload is a value that AWS sends as JSON text.
type payload struct{ value any }

func (p payload) MarshalJSON() ([]byte, error) {
	b, err := Encode(p.value)
	if err != nil {
		return nil, err
	}
	return json.Marshal(string(b))
}

// cut says whether a text was shortened: never, here.
type cut struct {
	Truncated bool `json:"truncated"`
}

type (
	executionStarted struct {
		Input        payload `json:"input"`
		InputDetails cut     `json:"inputDetails"`
		RoleARN      string  `json:"roleArn"`
	}
	executionSucceeded struct {
		Output        payload `json:"output"`
		OutputDetails cut     `json:"outputDetails"`
	}
	executionFailed   struct{ failed }
	executionAborted  struct{ failed }
	executionTimedOut struct{ failed }
	failed            struct {
		Error string `json:"error,omitempty"`
		Cause string `json:"cause,omitempty"`
	}
	stateEntered struct {
		Name         string  `json:"name"`
		Input        payload `json:"input"`
		InputDetails cut     `json:"inputDetails"`
	}
	stateExited struct {
		Name                     string             `json:"name"`
		Output                   payload            `json:"output"`
		OutputDetails            cut                `json:"outputDetails"`
		AssignedVariables        map[string]payload `json:"assignedVariables,omitempty"`
		AssignedVariablesDetails *cut               `json:"assignedVariablesDetails,omitempty"`
	}
	mapStateStarted struct {
		Length int `json:"length"`
	}
	mapIteration struct {
		Name  string `json:"name"`
		Index int    `json:"index"`
		event string
	}
	mapRunStarted struct {
		MapRunARN string `json:"mapRunArn"`
	}
	mapRunFailed struct{ failed }
)

func (executionStarted) field() string   { return "executionStartedEventDetails" }
func (executionSucceeded) field() string { return "executionSucceededEventDetails" }
func (executionFailed) field() string    { return "executionFailedEventDetails" }
func (executionAborted) field() string   { return "executionAbortedEventDetails" }
func (executionTimedOut) field() string  { return "executionTimedOutEventDetails" }
func (stateEntered) field() string       { return "stateEnteredEventDetails" }
func (stateExited) field() string        { return "stateExitedEventDetails" }
func (mapStateStarted) field() string    { return "mapStateStartedEventDetails" }
func (m mapIteration) field() string     { return "mapIteration" + m.event + "EventDetails" }
func (mapRunStarted) field() string      { return "mapRunStartedEventDetails" }
func (mapRunFailed) field() string       { return "mapRunFailedEventDetails" }

// MarshalJSON writes the event as GetExecutionHistory does; times in RFC 3339.
func (e Event) MarshalJSON() ([]byte, error) {
	object := map[string]any{
		"id":              e.ID,
		"previousEventId": e.Previous,
		"type":            e.Type,
		"timestamp":       e.At,
	}
	if e.Details != nil {
		object[e.Details.field()] = e.Details
	}
	b, err := json.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("history event %d: %w", e.ID, err)
	}
	return b, nil
}
