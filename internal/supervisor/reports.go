package supervisor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/buildit-dev/buildit/internal/report"
)

// ReportUse is a file, or several, that tests or tools of the stage write.
type ReportUse struct {
	Kind     string `json:"kind"` // junit, gotest, coverage, sarif
	Path     string `json:"path"` // a glob
	Required bool   `json:"required,omitempty"`
}

// ReportResult is what a stage has reported, in few words. Object is all of it, as
// package report encodes it.
type ReportResult struct {
	Object      Object           `json:"object"`
	Tests       report.Totals    `json:"tests"`
	Coverage    *report.Coverage `json:"coverage,omitempty"` // without its files
	Annotations int              `json:"annotations,omitempty"`
	Summary     bool             `json:"summary,omitempty"`
}

// Kinds of objects that belong to reports.
const (
	KindReport  = "report"
	KindTimings = "timings"
)

// maxAnnotationsFile limits $BUILDIT_ANNOTATIONS, in bytes.
const maxAnnotationsFile = 16 << 20

// makeReport reads what the commands have left behind for people, whatever their end
// was, and sends it as one object. What cannot be read is a notice; a report that is
// required and is not there ends the stage.
func (a *attempt) makeReport(ctx context.Context) error {
	r := &report.Reader{Mask: a.masks, Root: a.folders.workspace}
	var missing error
	if len(a.job.Reports) > 0 {
		root, err := os.OpenRoot(a.folders.workspace)
		if err != nil {
			a.notice("report-unreadable", "No report can be read: the workspace is gone: %v.", err)
		} else {
			r.Files = root.FS()
			missing = a.readReports(ctx, root, r)
			defer root.Close()
		}
	}
	a.readAnnotations(r)
	a.readSummary(r)
	if made := r.Report(); !made.Empty() {
		a.sendReport(ctx, made)
	}
	return missing
}

// readReports reads the files of every declared report. The error is the first
// required one that has none.
func (a *attempt) readReports(ctx context.Context, root *os.Root, r *report.Reader) error {
	var missing error
	for _, use := range a.job.Reports {
		files, err := a.matching(ctx, root, use.Path, report.MaxFiles)
		switch {
		case err != nil:
			a.notice("report-unreadable", "The report %s %s cannot be read: %v.", use.Kind, use.Path, err)
			continue
		case len(files) == 0 && a.noShare: // there was nothing to report about
		case len(files) == 0 && !use.Required:
			a.notice("report-none", "The report %s %s matches no file.", use.Kind, use.Path)
		case len(files) == 0 && missing == nil:
			missing = failed(ReasonReportMissing, "The report %s %s is required and matches no file.", use.Kind, use.Path)
		}
		for _, file := range files {
			if err := a.readReport(root, file, use.Kind, r); err != nil {
				a.notice("report-unreadable", "The report %s is left out: %v.", file, err)
			}
		}
	}
	return missing
}

func (a *attempt) readReport(root *os.Root, name, kind string, r *report.Reader) error {
	file, err := openFile(root, name)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err == nil && info.Size() > report.MaxFile {
		err = fmt.Errorf("it has %d bytes; %d (50 MB) are allowed", info.Size(), report.MaxFile)
	}
	if err == nil {
		err = r.Read(kind, file)
	}
	return errors.Join(err, file.Close())
}

// matching lists the regular files that a glob means, in the order of their bytes. More
// than limit are an error.
func (a *attempt) matching(ctx context.Context, root *os.Root, pattern string, limit int) ([]string, error) {
	g, err := parseGlob(pattern)
	if err != nil {
		return nil, err
	}
	var files []string
	err = fs.WalkDir(root.FS(), g.base(), func(name string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrInvalid), errors.Is(err, fs.ErrPermission):
			return nil // what nobody may read is no file of ours
		case err != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case d.IsDir() && name == ".git" && !strings.HasPrefix(pattern, ".git"):
			return fs.SkipDir
		case !d.Type().IsRegular() || !g.match(name):
			return nil
		case len(files) >= limit:
			return fmt.Errorf("it matches more than %d files", limit)
		}
		files = append(files, name)
		return nil
	})
	return files, err
}

func (a *attempt) readAnnotations(r *report.Reader) {
	text, err := readOwn(a.folders.annotations(), maxAnnotationsFile)
	if err != nil || text == nil {
		a.unreadable("$BUILDIT_ANNOTATIONS", err)
		return
	}
	mistakes, err := r.ReadAnnotations(bytes.NewReader(text))
	a.unreadable("$BUILDIT_ANNOTATIONS", err)
	if len(mistakes) > 0 {
		a.notice("annotations-invalid", "Some of $BUILDIT_ANNOTATIONS is left out: %s.", strings.Join(mistakes, "; "))
	}
}

func (a *attempt) readSummary(r *report.Reader) {
	text, err := readOwn(a.folders.summary(), report.MaxSummary)
	if err == nil && text != nil {
		err = r.ReadSummary(bytes.NewReader(text))
	}
	a.unreadable("$BUILDIT_SUMMARY", err)
}

func (a *attempt) unreadable(file string, err error) {
	if err != nil {
		a.notice("report-unreadable", "%s is left out: %v.", file, err)
	}
}

// sendReport uploads the report and names it in the result. A report that cannot be
// sent fails no stage: people are told.
func (a *attempt) sendReport(ctx context.Context, made *report.Report) {
	var form bytes.Buffer
	if err := made.Encode(&form); err != nil {
		a.unreadable("The report", err)
		return
	}
	sum := sha256.Sum256(form.Bytes())
	object := Object{Kind: KindReport, Name: KindReport, SHA256: hex.EncodeToString(sum[:]), Size: int64(form.Len())}
	if err := a.control.Upload(ctx, object, bytes.NewReader(form.Bytes())); err != nil {
		a.notice("report-lost", "The reports of the stage could not be uploaded: %v.", err)
		return
	}
	result := &ReportResult{Object: object, Tests: made.Totals, Annotations: len(made.Annotations), Summary: made.Summary != ""}
	if made.Coverage != nil {
		total := *made.Coverage
		total.Files = nil
		result.Coverage = &total
	}
	a.result.Report = result
	if made.Totals.Cases > 0 {
		a.out.say("tests: %s", made.Totals)
	}
	if result.Coverage != nil {
		a.out.say("coverage: %.1f %% of %d %s", result.Coverage.Percent, result.Coverage.Total, result.Coverage.Unit)
	}
}
