package pipeline

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/logs"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

const (
	maxLogWait = 20 * time.Second
	maxLogPage = 1 << 20 // bytes of an answer in JSON, about
)

// LogPage is part of a log for those who cannot open a stream: ask again from Next,
// with Offset, until End.
type LogPage struct {
	Segments []supervisor.LogPart `json:"segments"`
	Next     int                  `json:"next"`
	Offset   int64                `json:"offset"`
	End      bool                 `json:"end,omitempty"`
	Status   string               `json:"status,omitempty"` // of the stage, at the end
	Groups   []logs.Group         `json:"groups,omitempty"` // its commands, at the end
}

// logForms are the forms of the answer, by ?format=.
var logForms = map[string]func(s *Service, w http.ResponseWriter, r *http.Request, read *logRead) error{
	"raw": (*Service).writeRaw, "jsonl": (*Service).writeLines, "index": (*Service).writeIndex,
}

// logRead is a log that is being answered: its lines from first to last, 0 for all.
type logRead struct {
	store       *LogStore
	log         LogName
	over        bool
	first, last int64
	cursor      *logCursor
}

func (s *Service) getLog(r *http.Request, caller access.Caller) (any, error) {
	store, name, err := s.logStore(r, caller.Org)
	if err != nil {
		return nil, err
	}
	query := r.URL.Query()
	if query.Has("from") {
		return s.logPage(r, store, name)
	}
	form := orText(query.Get("format"), "raw")
	write, known := logForms[form]
	if !known {
		return nil, problem.New(problem.Invalid, "There is no format %q: raw, jsonl and index are.", form).InField("format")
	}
	read := &logRead{store: store, log: name}
	if read.first, read.last, err = linesOf(r); err != nil {
		return nil, err
	}
	if read.over, _, err = s.logOver(r.Context(), name); err != nil {
		return nil, err
	}
	read.cursor, err = store.cursor(r.Context(), name, access.From{Line: read.first}, read.over)
	if err != nil {
		return nil, err
	}
	if form != "index" {
		if err := read.look(r.Context()); err != nil {
			return nil, err
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "sandbox") // a log is text, whatever is in it
		if err := write(s, w, r, read); err != nil {
			s.Log.InfoContext(r.Context(), "log broken off", "log", name.String(), "byte", read.cursor.offset, "err", err)
			panic(http.ErrAbortHandler) // the reader must see that it is not whole
		}
	}), nil
}

// look reads the first part, so that a log that has expired is answered with a problem.
func (l *logRead) look(ctx context.Context) error {
	ahead := *l.cursor
	if _, err := ahead.next(ctx); err != nil && !errors.Is(err, platform.ErrNotFound) {
		return err
	}
	return nil
}

// linesOf reads ?line= and ?lines=: the first and the last line that are wanted.
func linesOf(r *http.Request) (first, last int64, err error) {
	for _, field := range []struct {
		name string
		into *int64
	}{{"line", &first}, {"lines", &last}} {
		text := r.URL.Query().Get(field.name)
		if text == "" {
			continue
		}
		if *field.into, err = strconv.ParseInt(text, 10, 48); err != nil || *field.into < 1 {
			return 0, 0, problem.New(problem.Invalid, "%s must be a number from 1.", field.name).InField(field.name)
		}
	}
	first = max(first, 1)
	if last > 0 {
		last += first - 1
	}
	return first, last, nil
}

// parts calls take for what is stored of the lines that are wanted.
func (l *logRead) parts(ctx context.Context, take func(logs.Part) error) error {
	for {
		part, err := l.cursor.next(ctx)
		if errors.Is(err, platform.ErrNotFound) {
			return nil
		}
		if err == nil && l.last > 0 && part.Line > l.last {
			return nil
		}
		if err == nil {
			err = take(part)
		}
		if err != nil {
			return err
		}
	}
}

// writeRaw answers the bytes as they are. What was left out of a log beyond its limit
// is no byte of it: a header tells of it.
func (s *Service) writeRaw(w http.ResponseWriter, r *http.Request, l *logRead) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if sealed := l.cursor.sealed; sealed != nil {
		if gap := sealed.Gap(); gap != nil {
			w.Header().Set("Buildit-Log-Gap", fmt.Sprintf("line=%d; lines=%d; bytes=%d", gap.Line, gap.Lines, gap.Bytes))
		}
	}
	return l.parts(r.Context(), func(part logs.Part) error {
		if l.last > 0 {
			part = part.UntilLine(l.last)
		}
		_, err := w.Write(part.Text)
		return err
	})
}

// writeIndex answers what there is of the log. One that is not sealed has no chunks.
func (s *Service) writeIndex(w http.ResponseWriter, r *http.Request, l *logRead) error {
	index, err := s.logIndex(r.Context(), l)
	if err != nil {
		return err
	}
	return writeJSON(w, "application/json", index)
}

// logIndex is the index of a log, or what can be said of one that has none yet.
func (s *Service) logIndex(ctx context.Context, l *logRead) (*logs.Index, error) {
	if l.over {
		index, err := l.store.Index(ctx, l.log)
		if err == nil || !errors.Is(err, platform.ErrNotFound) {
			return index, err
		}
	}
	index := &logs.Index{V: 1, Chunks: []logs.Chunk{}, Final: l.over}
	groups, err := s.logGroups(ctx, l.log)
	if err != nil {
		return nil, err
	}
	index.Groups = groups
	first, err := l.store.Part(ctx, l.log, 0)
	if errors.Is(err, platform.ErrNotFound) {
		return index, nil
	}
	if err != nil {
		return nil, err
	}
	if index.Start, err = first.Began(); err != nil {
		return nil, err
	}
	next, err := l.store.find(ctx, l.log, func(logs.Part) bool { return false })
	if err != nil {
		return nil, err
	}
	last, err := l.store.Part(ctx, l.log, next-1)
	if err != nil {
		return nil, err
	}
	index.Lines, index.Bytes = last.Line+last.Lines-1, last.End()
	return index, nil
}

// logGroups are the commands of an attempt, once it has reported.
func (s *Service) logGroups(ctx context.Context, log LogName) ([]logs.Group, error) {
	item, err := s.home.Table.Get(ctx, attemptRow(log.Org, log.Run, log.Key, log.Attempt))
	if errors.Is(err, platform.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return groupsOf(item), nil
}

// logStore is where the log is kept that the path and ?attempt= name.
func (s *Service) logStore(r *http.Request, org platform.Org) (*LogStore, LogName, error) {
	store, ok := s.Logs.(*LogStore)
	if !ok {
		return nil, LogName{}, problem.New(problem.NotFound, "This server keeps no logs.")
	}
	name, err := s.logOf(r, org)
	return store, name, err
}

// logOf is the log that the path and ?attempt= name.
func (s *Service) logOf(r *http.Request, org platform.Org) (LogName, error) {
	run, err := ParseRunID(r.PathValue("run"))
	if err != nil {
		return LogName{}, err
	}
	key, err := ParseStageKey(r.PathValue("stage"))
	if err != nil {
		return LogName{}, err
	}
	st, err := s.stage(r.Context(), ref{org: org, run: run}, key)
	if errors.Is(err, platform.ErrNotFound) {
		return LogName{}, problem.New(problem.NotFound, "There is no stage %s in run %s.", key, run)
	}
	if err != nil {
		return LogName{}, err
	}
	name := LogName{org, run, key, st.Attempt}
	if text := r.URL.Query().Get("attempt"); text != "" {
		if name.Attempt, err = strconv.Atoi(text); err != nil || name.Attempt < 1 || name.Attempt > st.Attempt {
			return LogName{}, problem.New(problem.Invalid, "attempt must be a number from 1 to %d.", st.Attempt).InField("attempt")
		}
	}
	name.Run = RunID(orText(string(st.From), string(run)))
	return name, nil
}

func (s *Service) logPage(r *http.Request, store *LogStore, name LogName) (any, error) {
	first, err := strconv.Atoi(r.URL.Query().Get("from"))
	if err != nil || first < 0 {
		return nil, problem.New(problem.Invalid, "from must be the number of a segment, from 0.").InField("from")
	}
	from := access.From{Segment: first}
	if text := r.URL.Query().Get("offset"); text != "" {
		if from.Offset, err = strconv.ParseInt(text, 10, 64); err != nil || from.Offset < 0 {
			return nil, problem.New(problem.Invalid, "offset must be a number of bytes, from 0.").InField("offset")
		}
	}
	wait, err := waitOf(r)
	if err != nil {
		return nil, err
	}
	changed := store.Next(name)
	page, err := s.readPage(r.Context(), store, name, from)
	if err != nil || len(page.Segments) > 0 || page.End || wait == 0 {
		return page, err
	}
	over := make(chan struct{})
	stop := s.home.Clock.AfterFunc(wait, func() { close(over) })
	defer stop()
	select {
	case <-changed:
	case <-over:
	case <-r.Context().Done():
	}
	return s.readPage(r.Context(), store, name, from)
}

func waitOf(r *http.Request) (time.Duration, error) {
	text := r.URL.Query().Get("wait")
	if text == "" {
		return 0, nil
	}
	wait, err := time.ParseDuration(text)
	if err != nil || wait < 0 || wait > maxLogWait {
		return 0, problem.New(problem.Invalid, "wait must be a duration up to %s.", maxLogWait).InField("wait")
	}
	return wait, nil
}

func (s *Service) readPage(ctx context.Context, store *LogStore, name LogName, from access.From) (LogPage, error) {
	over, status, err := s.logOver(ctx, name)
	if err != nil {
		return LogPage{}, err
	}
	cursor, err := store.cursor(ctx, name, from, over)
	if err != nil {
		return LogPage{}, err
	}
	cursor.timed = true
	page := LogPage{Segments: []supervisor.LogPart{}}
	for size := 0; size < maxLogPage; {
		part, err := cursor.next(ctx)
		if errors.Is(err, platform.ErrNotFound) {
			if over {
				page.End, page.Status = true, status
				page.Groups, err = s.logGroups(ctx, name)
			} else {
				err = nil
			}
			page.Next, page.Offset = cursor.segment, cursor.offset
			return page, err
		}
		if err != nil {
			return LogPage{}, err
		}
		page.Segments = append(page.Segments, part)
		size += len(part.Text)
	}
	page.Next, page.Offset = cursor.segment, cursor.offset
	return page, nil
}
