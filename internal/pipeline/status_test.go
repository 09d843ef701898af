package pipeline

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/golden"
)

func TestStatusTo(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		from, to Status
		ok       bool
	}{
		{Created, Running, true},
		{Running, Canceling, true},
		{Running, Canceled, false},  // its commands must be stopped first
		{Succeeded, Running, false}, // a rerun is a new run
	} {
		t.Run(fmt.Sprintf("%s to %s", tt.from, tt.to), func(t *testing.T) {
			if err := tt.from.To(tt.to); (err == nil) != tt.ok {
				t.Errorf("err = %v, want allowed %v", err, tt.ok)
			}
		})
	}
}

func TestStageStatusTo(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		from, to StageStatus
		ok       bool
	}{
		{StageBlocked, StageQueued, true},
		{StageRunning, StageSucceeded, false}, // only `record` makes a stage final
		{StageReported, StageQueued, true},    // the next attempt
		{StageCanceling, StageReported, true}, // it had ended before it heard
		{StageSkipped, StageQueued, false},
	} {
		t.Run(fmt.Sprintf("%s to %s", tt.from, tt.to), func(t *testing.T) {
			if err := tt.from.To(tt.to); (err == nil) != tt.ok {
				t.Errorf("err = %v, want allowed %v", err, tt.ok)
			}
		})
	}
	if StageBlocked.To(StageSucceeded) == nil || StageBlocked.nodeTo(StageSucceeded) != nil {
		t.Error("a join may end from blocked, a stage with commands may not")
	}
}

// The tables are also a page of the manual, so that a change of them shows in review.
func TestStatusTable(t *testing.T) {
	t.Parallel()
	var table strings.Builder
	table.WriteString("A run\n\n")
	for _, s := range slices.Sorted(maps.Keys(rules)) {
		r := rules[s]
		if open := len(r.next) > 0; open != (r.owner != "" && r.deadline > 0) {
			t.Errorf("%s: a status has an owner and a deadline unless it is final", s)
		}
		fmt.Fprintf(&table, "%-10s %-18s %-9s %v\n", s, r.owner, r.deadline, r.next)
	}
	table.WriteString("\nA stage\n\n")
	for _, s := range slices.Sorted(maps.Keys(stageRules)) {
		r := stageRules[s]
		if open := len(r.next) > 0; open != (r.owner != "" && r.deadline > 0) {
			t.Errorf("%s: a status has an owner and a deadline unless it is final", s)
		}
		fmt.Fprintf(&table, "%-10s %-14s %-9s %v", s, r.owner, r.deadline, r.next)
		if len(r.node) > 0 {
			fmt.Fprintf(&table, " and without commands %v", r.node)
		}
		table.WriteByte('\n')
	}
	golden.Equal(t, "status.txt", table.String())
}

func TestAllSkippedIsGreen(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		stages []StageStatus
		want   Status
	}{
		{[]StageStatus{StageSkipped, StageSkipped}, Skipped},
		{[]StageStatus{StageSkipped, StageSucceeded}, Succeeded},
		{[]StageStatus{StageAllowed}, Succeeded},
		{[]StageStatus{StageFailed, StageErrored, StageSucceeded}, Errored},
		{[]StageStatus{StageTimedOut, StageSucceeded}, Failed},
		{nil, Skipped},
	} {
		if got := Result(tt.stages); got != tt.want {
			t.Errorf("Result(%v) = %s, want %s", tt.stages, got, tt.want)
		}
	}
}
