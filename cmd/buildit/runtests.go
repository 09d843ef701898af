package main

import (
	"fmt"
	"strings"

	"github.com/buildit-dev/buildit/internal/report"
	"github.com/buildit-dev/buildit/internal/wiring/localrun"
)

// reports shows what the tests of a run have said, in few lines: counts, and what failed
// with its place.
func (s *runShow) reports(result localrun.Result) {
	for _, one := range result.Summaries {
		if one.Text != "" {
			fmt.Fprintf(&s.buffer, "summary of %s:\n%s\n", one.Stage, markdown(one.Text))
		}
	}
	if result.Tests == nil {
		return
	}
	fmt.Fprintf(&s.buffer, "tests: %s\n", result.Tests)
	named := 0
	for _, t := range result.Failed {
		word := "failed"
		if t.Status != report.Failed {
			word = "flaky"
		} else {
			named++
		}
		fmt.Fprintf(&s.buffer, "  %s  %s\n", word, strings.Join(present(clean(casePlace(t.Case), 200), clean(t.Title(), 200), clean(t.Message, 200)), "  "))
	}
	if rest := result.Tests.Failed - named; rest > 0 && named > 0 {
		fmt.Fprintf(&s.buffer, "  and %d more failed\n", rest)
	}
}

// present are the texts that are not empty.
func present(texts ...string) []string {
	var list []string
	for _, text := range texts {
		if text != "" {
			list = append(list, text)
		}
	}
	return list
}
