package pipeline

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

// PartReader is a log store whose parts can be read again.
type PartReader interface {
	// Part reads one part, or fails with platform.ErrNotFound.
	Part(ctx context.Context, log LogName, segment int) (supervisor.LogPart, error)
	// Next is closed when there may be more.
	Next(log LogName) <-chan struct{}
}

const (
	maxLogWait = 20 * time.Second
	maxLogPage = 1 << 20 // bytes of an answer in JSON, about
)

// LogPage is part of a log for those who cannot open a stream: ask again from Next
// until End.
type LogPage struct {
	Segments []supervisor.LogPart `json:"segments"`
	Next     int                  `json:"next"`
	End      bool                 `json:"end,omitempty"`
	Status   string               `json:"status,omitempty"` // of the stage, at the end
}

func (s *Service) getLog(r *http.Request, caller access.Caller) (any, error) {
	parts, ok := s.Logs.(PartReader)
	if !ok {
		return nil, problem.New(problem.NotFound, "This server keeps no logs.")
	}
	name, err := s.logOf(r, caller.Org)
	if err != nil {
		return nil, err
	}
	if from := r.URL.Query().Get("from"); from != "" {
		return s.logPage(r, parts, name, from)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "sandbox") // a log is text, whatever is in it
		for n := 0; ; n++ {
			part, err := parts.Part(r.Context(), name, n)
			if errors.Is(err, platform.ErrNotFound) {
				return
			}
			if err == nil {
				_, err = w.Write(part.Text)
			}
			if err != nil {
				s.Log.InfoContext(r.Context(), "log broken off", "log", name.String(), "part", n, "err", err)
				panic(http.ErrAbortHandler) // the reader must see that it is not whole
			}
		}
	}), nil
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
	return name, nil
}

func (s *Service) logPage(r *http.Request, parts PartReader, name LogName, from string) (any, error) {
	first, err := strconv.Atoi(from)
	if err != nil || first < 0 {
		return nil, problem.New(problem.Invalid, "from must be the number of a segment, from 0.").InField("from")
	}
	wait, err := waitOf(r)
	if err != nil {
		return nil, err
	}
	changed := parts.Next(name)
	page, err := s.readPage(r.Context(), parts, name, first)
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
	return s.readPage(r.Context(), parts, name, first)
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

func (s *Service) readPage(ctx context.Context, parts PartReader, name LogName, first int) (LogPage, error) {
	over, status, err := s.logOver(ctx, name)
	if err != nil {
		return LogPage{}, err
	}
	page := LogPage{Segments: []supervisor.LogPart{}, Next: first}
	for size := 0; size < maxLogPage; page.Next++ {
		part, err := parts.Part(ctx, name, page.Next)
		if errors.Is(err, platform.ErrNotFound) {
			if over {
				page.End, page.Status = true, status
			}
			return page, nil
		}
		if err != nil {
			return LogPage{}, err
		}
		page.Segments = append(page.Segments, part)
		size += len(part.Text)
	}
	return page, nil
}
