package supervisor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/report"
)

// reported is the report that a stage has sent.
func (h *home) reported(t *testing.T) *report.Report {
	t.Helper()
	result := h.ended()
	if result.Report == nil {
		t.Fatalf("there is no report; the log is %q", h.text())
	}
	got := &report.Report{Totals: result.Report.Tests}
	err := report.Decode(bytes.NewReader(h.objects[result.Report.Object.SHA256]), report.Visit{
		Summary:    func(text string) error { got.Summary = text; return nil },
		Annotation: func(a report.Annotation) error { got.Annotations = append(got.Annotations, a); return nil },
		Case:       func(c report.Case) error { got.Cases = append(got.Cases, c); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

const junitFile = `<testsuite name="s"><testcase name="good" time="0.5"/><testcase name="bad" file="cart_test.py" line="3"><failure message="with %s">x</failure></testcase></testsuite>`

func TestReportsOfAFailedStage(t *testing.T) {
	t.Parallel()
	h := &home{
		job: jobOf(t, `mkdir out; printf "$JUNIT" "$TOKEN" >out/a.xml
			echo '{"level":"warning","file":"a.go","line":7,"title":"'$TOKEN'","message":"m"}' >"$BUILDIT_ANNOTATIONS"
			printf '# sum %s <b>\n' "$TOKEN" >"$BUILDIT_SUMMARY"; exit 3`),
		secrets: map[string]string{"TOKEN": "sesame-open-12345"},
	}
	h.job.Secrets = []SecretUse{{Name: "TOKEN", As: "TOKEN"}}
	h.job.Env["JUNIT"] = junitFile
	h.job.Reports = []ReportUse{{Kind: "junit", Path: "out/*.xml", Required: true}, {Kind: "coverage", Path: "c.out"}}
	result := h.run(t)
	want(t, h, result, ReasonExit)
	got := h.reported(t)
	if got.Totals != (report.Totals{Cases: 2, Succeeded: 1, Failed: 1, Seconds: 0.5}) || got.Cases[0].Message != "with ***" {
		t.Errorf("%+v", got)
	}
	wanted := []report.Annotation{
		{Level: "warning", File: "a.go", Line: 7, Title: "***", Message: "m"},
		{Level: "error", File: "cart_test.py", Line: 3, Title: "bad", Message: "with ***"},
	}
	if !slices.Equal(got.Annotations, wanted) || got.Summary != "# sum *** &lt;b>" {
		t.Errorf("%+v, %q", got.Annotations, got.Summary)
	}
	if all := fmt.Sprintf("%+v %+v %s", result, got, h.text()); strings.Contains(all, "sesame") {
		t.Error("the secret is in " + all)
	}
	if len(result.Notices) != 1 || result.Notices[0].Code != "report-none" {
		t.Errorf("%+v", result.Notices)
	}
}

func TestRequiredReportMissing(t *testing.T) {
	t.Parallel()
	h := &home{job: jobOf(t, "true")}
	h.job.Reports = []ReportUse{{Kind: "junit", Path: "out/*.xml", Required: true}}
	result := h.run(t)
	want(t, h, result, ReasonReportMissing)
	if result.Detail != "The report junit out/*.xml is required and matches no file." || result.Report != nil {
		t.Errorf("%+v", result)
	}
	h = &home{job: jobOf(t, "exit 4")} // the commands' own end counts
	h.job.Reports = []ReportUse{{Kind: "junit", Path: "out/*.xml", Required: true}}
	want(t, h, h.run(t), ReasonExit)
}

// A stage that makes of its report what no reader should touch succeeds, with a notice
// that names the file and what is wrong with it.
func TestHostileReports(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ script, notice string }{
		"200 MB":         {"truncate -s 200M r.xml", "The report r.xml is left out: it has 209715200 bytes; 52428800 (50 MB) are allowed."},
		"1 TB":           {"truncate -s 1T r.xml", "The report r.xml is left out: it has 1099511627776 bytes; 52428800 (50 MB) are allowed."},
		"entity bomb":    {`printf '<!DOCTYPE a [<!ENTITY a "x"><!ENTITY b "&a;&a;">]><testsuite>&b;</testsuite>' >r.xml`, "The report r.xml is left out: line 1: it has a DTD (<!DOCTYPE or <!ENTITY), which is refused."},
		"link":           {"ln -s /etc/passwd r.xml", "The report junit r.xml cannot be read: "},
		"pipe":           {"mkfifo r.xml", "The report junit r.xml matches no file."},
		"folder gone":    {`cd /; rm -rf "$BUILDIT_WORKSPACE"`, "No report can be read: the workspace is gone: "},
		"annotations":    {`ln -s /dev/zero "$BUILDIT_ANNOTATIONS"; echo '<testsuite/>' >r.xml`, "$BUILDIT_ANNOTATIONS is left out: it is a link; write to the file itself."},
		"device":         {`mkfifo "$BUILDIT_SUMMARY"; echo '<testsuite/>' >r.xml`, "$BUILDIT_SUMMARY is left out: it is not a regular file any more."},
		"summary, 1 TB":  {`truncate -s 1T "$BUILDIT_SUMMARY"; echo '<testsuite/>' >r.xml`, "$BUILDIT_SUMMARY is left out: it has 1099511627776 bytes; 1048576 are allowed."},
		"no annotations": {`echo x >"$BUILDIT_ANNOTATIONS"; echo '<testsuite/>' >r.xml`, "Some of $BUILDIT_ANNOTATIONS is left out: line 1: it is no JSON object of level, file, line, title and message."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &home{job: jobOf(t, tt.script)}
			h.job.Reports = []ReportUse{{Kind: "junit", Path: "r.xml"}}
			result := h.run(t)
			want(t, h, result, ReasonOK)
			if len(result.Notices) != 1 || !strings.HasPrefix(result.Notices[0].Text, tt.notice) || result.Report != nil {
				t.Errorf("%+v", result)
			}
		})
	}
}

// A stage that reports nothing sends nothing.
func TestNoReport(t *testing.T) {
	t.Parallel()
	h := &home{job: jobOf(t, "true")}
	if result := h.run(t); result.Report != nil || len(h.sent) != 0 || len(result.Notices) != 0 {
		t.Errorf("%+v, %v", result, h.sent)
	}
}

// The shares of all cells together are all files, each once, whatever the mode, the
// number of files and what is known of them; and by timing no cell has more to do than
// the longest file above the mean.
func TestSharesAreAPartition(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		timings, longest, all := Timings{}, int64(0), int64(0)
		var files []string
		for i := range random.IntN(40) {
			file := fmt.Sprintf("d%d/%02d.go", random.IntN(3), i)
			files = append(files, file)
			timings[file] = 1 + random.Int64N(10_000)
			longest, all = max(longest, timings[file]), all+timings[file]
		}
		slices.Sort(files)
		for _, mode := range []string{"timing", "name", "count"} {
			use := SplitUse{Mode: mode, Total: 2 + random.IntN(6)}
			var together []string
			for use.Index = range use.Total {
				share := Share(use, files, timings)
				together = append(together, share...)
				load := int64(0)
				for _, file := range share {
					load += timings[file]
				}
				if mode == "timing" && load > all/int64(use.Total)+longest {
					t.Errorf("cell %d of %d takes %d of %d, the longest file %d", use.Index, use.Total, load, all, longest)
				}
			}
			if slices.Sort(together); !slices.Equal(together, files) {
				t.Errorf("%s: %v of %v", mode, together, files)
			}
		}
	}
}

func TestShare(t *testing.T) {
	t.Parallel()
	files := []string{"a", "b", "c", "d", "e/1", "e/2"}
	for _, tt := range []struct {
		mode    string
		timings Timings
		want    [2]string
	}{
		{"count", nil, [2]string{"a b c", "d e/1 e/2"}},
		{"name", nil, [2]string{"a c e/1", "b d e/2"}},
		{"timing", nil, [2]string{"a c e/1", "b d e/2"}},
		{"timing", Timings{"a": 100, "b": 60, "c": 30, "e": 40}, [2]string{"a e/1 e/2", "b c d"}}, // d is like the median, e/1 half of e
	} {
		for i, want := range tt.want {
			if got := strings.Join(Share(SplitUse{Mode: tt.mode, Index: i, Total: 2}, files, tt.timings), " "); got != want {
				t.Errorf("%s %v, cell %d: %s, want %s", tt.mode, tt.timings, i, got, want)
			}
		}
	}
}

func TestSplitFiles(t *testing.T) {
	t.Parallel()
	for cell, text := range []string{"slow_test.go\n", "a_test.go\nx y/b_test.go\n", ""} {
		h := &home{job: jobOf(t, `cat "$BUILDIT_SPLIT_FILES"`)}
		for _, name := range []string{"a_test.go", "slow_test.go", "x y/b_test.go", "c.go"} {
			path := filepath.Join(h.job.Workspace, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		known, err := json.Marshal(Timings{"slow_test.go": 900, "a_test.go": 1, "x y/b_test.go": 1})
		if err != nil {
			t.Fatal(err)
		}
		h.job.Split = &SplitUse{Mode: "timing", Files: "**/*_test.go", Index: cell, Total: 2, Timings: h.put(known)}
		h.job.Reports = []ReportUse{{Kind: "gotest", Path: "r.json", Required: true}}
		if cell == 2 { // no share: fine, and no report is missed
			h.job.Split.Files = "*.py"
		} else {
			h.job.Reports = nil
		}
		result := h.run(t)
		want(t, h, result, ReasonOK)
		if !strings.HasSuffix(h.text(), text) || cell < 2 && !strings.HasPrefix(h.text(), fmt.Sprintf("parallel: %d of 3 files, by timing\n", cell+1)) {
			t.Errorf("cell %d: %q, want %q", cell, h.text(), text)
		}
	}
	h := &home{job: jobOf(t, "true")} // timings that are not those of the run
	object := h.put([]byte(`{"a":1}`))
	h.objects[object.SHA256] = []byte(`{"a":2}`)
	h.job.Split = &SplitUse{Mode: "timing", Files: "*", Total: 2, Timings: object}
	want(t, h, h.run(t), ReasonGrantFailed)
}
