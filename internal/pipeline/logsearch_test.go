package pipeline_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/platform/platformtest"
)

// A search answers the same of a log that is live and one that is sealed, page by page.
func TestSearchReadsEveryForm(t *testing.T) {
	t.Parallel()
	clock := new(platformtest.AheadClock)
	w := newWorld(t, aheadOf(clock))
	view := w.run(twoCommands)
	a, path := newAPI(w), fmt.Sprintf("/runs/%s/stages/%s/log/search?q=", view.ID, view.Stages[0].Key)
	for _, after := range []time.Duration{0, time.Minute, 25 * time.Hour} {
		w.keep(clock, after)
		var lines []int64
		for next, pages := int64(1), 0; next > 0; pages++ {
			page := answer[pipeline.LogMatches](a, path+fmt.Sprintf("99999&limit=2&line=%d", next))
			for _, m := range page.Matches {
				lines = append(lines, m.Line)
				if m.Command != "count" || m.Text[m.From:m.To] != "99999" || m.Time.IsZero() {
					t.Errorf("after %s: %+v", after, m)
				}
			}
			if next = page.Next; pages > 5 {
				t.Fatal("the pages do not end")
			}
		}
		if fmt.Sprint(lines) != "[99999 199999 299999]" {
			t.Errorf("after %s: lines %v", after, lines)
		}
		last := answer[pipeline.LogMatches](a, path+"%5E(OVER|open)%24&regexp=true&ignore_case=true")
		if len(last.Matches) != 2 || last.Matches[0].Command != "say" || last.Matches[1].Line != 300_002 || last.Next != 0 {
			t.Errorf("after %s: %+v", after, last)
		}
	}
	w.keep(clock, 90*24*time.Hour)
	if status, text := a.call("GET "+path+"x", ""); status != http.StatusGone || !strings.Contains(text, "expired") {
		t.Errorf("expired: %d %s", status, text)
	}
}

func TestSearchRefusesInWords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	view := w.run(twoCommands)
	a, path := newAPI(w), fmt.Sprintf("GET /runs/%s/stages/%s/log/search?q=", view.ID, view.Stages[0].Key)
	for query, want := range map[string]string{
		"": "empty", "a(&regexp=true": "missing closing", strings.Repeat("x", 2000): "may have 1024",
		"x&regexp=maybe": "true or false", "x&limit=0": "1 to 1000", "x&line=0": "from 1", "x&attempt=9": "1 to 1",
	} {
		if status, text := a.call(path+query, ""); status != http.StatusUnprocessableEntity && status != http.StatusBadRequest || !strings.Contains(text, want) {
			t.Errorf("%.20s: %d %s", query, status, text)
		}
	}
}
