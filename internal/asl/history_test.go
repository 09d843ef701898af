package asl_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/buildit-dev/buildit/internal/asl"
)

// cause is the interpreter's cause, or what was recorded where AWS found the words
// itself: those need not be the same.
func (p *replay) cause(name, cause string) any {
	if want, ok := p.Expected["cause"]; ok && ownWords(name) {
		return want
	}
	return cause
}

// ownWords are the errors whose cause is AWS's prose.
func ownWords(name string) bool {
	return slices.Contains([]string{
		"States.Runtime", "States.IntrinsicFailure", "States.NoChoiceMatched", "States.ItemReaderFailed",
		"States.ExceedToleratedFailureThreshold", "States.ResultPathMatchFailure",
	}, name)
}

// asOf brings what was recorded to what the service answers today: since November
// 2023 the context object counts redrives.
func (s *scenario) asOf(v any) any {
	if s.Recorded >= redriveSince {
		return v
	}
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = s.asOf(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = s.asOf(v[name])
		}
		_, hasStart := v["StartTime"]
		_, hasRole := v["RoleArn"]
		if hasStart && hasRole {
			v["RedriveCount"] = json.Number("0")
		}
	}
	return v
}

// matchHistory compares two histories: as lists, or as trees where branches
// interleave as they like.
func (s *scenario) matchHistory(want, got []any) string {
	want = s.asOf(want).([]any)
	normalise(want, false)
	normalise(got, true)
	if s.Expected["events_order"] == "parallel-normalised" {
		return contains(got, want)
	}
	if slices.Contains(s.Features, "Map") || slices.Contains(s.Features, "Parallel") {
		return s.matchTrees(want, got)
	}
	for i := range want {
		if i == len(got) {
			return fmt.Sprintf("event %d is missing: %s", i+1, short(want[i]))
		}
		if problem := match(fmt.Sprintf("event %d", i+1), want[i], got[i]); problem != "" {
			return problem
		}
	}
	if len(got) > len(want) {
		return fmt.Sprintf("event %d is too much: %s", len(want)+1, short(got[len(want)]))
	}
	return ""
}

// normalise takes out what is not compared: times, who took an activity's task,
// and the causes that AWS words itself.
func normalise(events []any, ours bool) {
	for _, e := range events {
		e := e.(map[string]any)
		delete(e, "timestamp")
		if e["type"] == "ActivityStarted" {
			delete(e, "activityStartedEventDetails")
		}
		for name, v := range e {
			details, ok := v.(map[string]any)
			if !ok || !strings.HasSuffix(name, "EventDetails") {
				continue
			}
			if kind, _ := details["error"].(string); ownWords(kind) {
				delete(details, "cause")
			}
			if ours {
				readTexts(details)
			}
			if len(details) == 0 {
				delete(e, name)
			}
		}
	}
}

// readTexts reads the fields that hold JSON text, as the recordings have done.
func readTexts(details map[string]any) {
	for name, v := range details {
		switch name {
		case "input", "output", "parameters":
			if value, err := asl.Decode([]byte(v.(string))); err == nil {
				details[name] = value
			}
		case "assignedVariables":
			vars := v.(map[string]any)
			for name, v := range vars {
				if value, err := asl.Decode([]byte(v.(string))); err == nil {
					vars[name] = value
				}
			}
		}
	}
}

// contains says which of the wanted events is not among those we made; ids are not
// compared.
func contains(got, want []any) string {
	used := make([]bool, len(got))
next:
	for _, w := range want {
		w := without(w, "id", "previousEventId")
		for i, g := range got {
			if !used[i] && match("", w, without(g, "id", "previousEventId")) == "" {
				used[i] = true
				continue next
			}
		}
		return "no event is " + short(w)
	}
	return ""
}

func without(event any, fields ...string) map[string]any {
	copied := map[string]any{}
	for name, v := range event.(map[string]any) {
		if !slices.Contains(fields, name) {
			copied[name] = v
		}
	}
	return copied
}

// node is an event and those that follow from it.
type node struct {
	event    map[string]any
	id       string
	children []*node
}

func (s *scenario) tree(events []any) *node {
	nodes := map[string]*node{"0": {id: "0", event: map[string]any{}}}
	root := nodes["0"]
	mapRun := ""
	for _, e := range events {
		e := e.(map[string]any)
		id, previous := fmt.Sprint(e["id"]), fmt.Sprint(e["previousEventId"])
		switch e["type"] {
		case "MapRunStarted":
			mapRun = id
		case "MapStateExited":
			if s.Recorded < mapRunChanged && mapRun != "" && nodes[previous].event["type"] == "MapRunSucceeded" {
				previous = mapRun // as since then
			}
		}
		n := &node{id: id, event: without(e, "id", "previousEventId")}
		nodes[id] = n
		parent, ok := nodes[previous]
		if !ok {
			parent = root
		}
		parent.children = append(parent.children, n)
	}
	return root
}

func (s *scenario) matchTrees(want, got []any) string {
	if len(want) != len(got) {
		return fmt.Sprintf("%d events, want %d:\n    got  %s\n    want %s", len(got), len(want), types(got), types(want))
	}
	return matchNodes("root", s.tree(want), s.tree(got))
}

func types(events []any) string {
	var b strings.Builder
	for _, e := range events {
		e := e.(map[string]any)
		fmt.Fprintf(&b, " %v<%v %v", e["id"], e["previousEventId"], e["type"])
	}
	return b.String()
}

func matchNodes(at string, want, got *node) string {
	if problem := match(at, want.event, got.event); problem != "" {
		return problem
	}
	if len(want.children) != len(got.children) {
		return fmt.Sprintf("%s: %d events follow, want %d", at, len(got.children), len(want.children))
	}
	used := make([]bool, len(got.children))
	for _, w := range want.children {
		first := ""
		found := false
		for i, g := range got.children {
			if used[i] {
				continue
			}
			problem := matchNodes(fmt.Sprintf("%s > %v", g.id, w.event["type"]), w, g)
			if problem == "" {
				used[i], found = true, true
				break
			}
			if first == "" || w.event["type"] == g.event["type"] {
				first = problem
			}
		}
		if !found {
			return first
		}
	}
	return ""
}
