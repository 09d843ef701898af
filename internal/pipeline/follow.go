package pipeline

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

// Follower is what a stream reads: logs as they grow and runs as they change. It is
// also the Observer that hears of the changes of this process.
type Follower struct {
	service *Service
	logs    *LogStore

	mu      sync.Mutex
	waiting map[string]chan struct{} // by run, and by stage of a run; closed at the next change
}

// NewFollower makes a Follower on a log store; Bind gives it the service, whose
// observer it is.
func NewFollower(logs *LogStore) *Follower {
	return &Follower{logs: logs, waiting: make(map[string]chan struct{})}
}

// Bind names the service whose rows are followed.
func (f *Follower) Bind(s *Service) { f.service = s }

// StageChanged implements Observer.
func (f *Follower) StageChanged(run RunID, st Stage) {
	f.ring(string(run))
	f.ring(stageBell(run, st.Key))
}

// RunChanged implements Observer.
func (f *Follower) RunChanged(run Run) { f.ring(string(run.ID)) }

func stageBell(run RunID, key StageKey) string { return string(run) + "/" + string(key) }

func (f *Follower) ring(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if bell := f.waiting[name]; bell != nil {
		close(bell)
		delete(f.waiting, name)
	}
}

func (f *Follower) next(name string) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waiting[name] == nil {
		f.waiting[name] = make(chan struct{})
	}
	return f.waiting[name]
}

// either is closed when one of them is, or when ctx ends. A log ends by a change of
// its stage, not by a part of its own.
func either(ctx context.Context, a, b <-chan struct{}) <-chan struct{} {
	c := make(chan struct{})
	go func() {
		defer close(c)
		select {
		case <-a:
		case <-b:
		case <-ctx.Done():
		}
	}()
	return c
}

// Run describes a run for a stream (access.RunSource).
func (f *Follower) Run(ctx context.Context, caller access.Caller, run string) (access.RunView, error) {
	id, err := ParseRunID(run)
	if err != nil {
		return access.RunView{}, err
	}
	changed := f.next(string(id))
	view, err := f.service.View(ctx, caller.Org, id)
	if err != nil {
		return access.RunView{}, err
	}
	answer := access.RunView{Status: string(view.Status), Final: view.Status.Final(), Changed: changed, Why: sayWaits(view.Waits)}
	waits := len(view.Waits) > 0
	if answer.Final {
		f.ring(string(id)) // nobody else will: forget it
	}
	for _, st := range view.Stages {
		answer.Stages = append(answer.Stages, access.StageView{
			Key: string(st.Key), Name: st.Name, Status: string(st.Status), Attempt: st.Attempt, Why: f.whyOf(st),
		})
		waits = waits || st.Status == StageGated
	}
	if waits {
		answer.Changed = f.orSoon(ctx, changed)
	}
	return answer, nil
}

// whyOf is what a stage waits for, or how one has ended that has no log to say it.
func (f *Follower) whyOf(st Stage) string {
	switch {
	case st.Status == StageGated:
		return orText(sayWaits(st.Waits), st.Why)
	case st.Status.Final() && st.Attempt == 0:
		return st.Why
	}
	return ""
}

func sayWaits(waits []Wait) string {
	texts := make([]string, len(waits))
	for i, w := range waits {
		texts[i] = w.Text
	}
	return strings.Join(texts, "; ")
}

// lookAtQueue is how often somebody who follows sees the place in line anew: it moves
// with what others do, of whom nobody tells this run.
const lookAtQueue = 2 * time.Second

// orSoon is closed when changed is, or after a moment.
func (f *Follower) orSoon(ctx context.Context, changed <-chan struct{}) <-chan struct{} {
	soon := make(chan struct{})
	stop := f.service.home.Clock.AfterFunc(lookAtQueue, func() { close(soon) })
	context.AfterFunc(ctx, func() { stop() })
	return either(ctx, changed, soon)
}

// batch is how many bytes of a log one read returns, about.
const batch = 1 << 20

// Segments reads a log for a stream (access.LogSource).
func (f *Follower) Segments(ctx context.Context, caller access.Caller, log string, from access.From) (access.LogView, error) {
	name, err := parseLog(caller.Org, log)
	if err != nil {
		return access.LogView{}, err
	}
	if name, err = f.service.logHome(ctx, name); err != nil {
		return access.LogView{}, err
	}
	more, moved := f.logs.Next(name), f.next(stageBell(name.Run, name.Key))
	over, status, err := f.service.logOver(ctx, name)
	if err != nil {
		return access.LogView{}, err
	}
	cursor, err := f.logs.cursor(ctx, name, from, over)
	if err != nil {
		return access.LogView{}, err
	}
	var view access.LogView
	for size := 0; ; {
		part, err := cursor.next(ctx)
		view.Next = access.From{Segment: cursor.segment, Offset: cursor.offset, Line: cursor.line}
		if errors.Is(err, platform.ErrNotFound) {
			view.Ended, view.Status = over, status
			if over { // nobody will ring these bells: forget them
				f.logs.ring(name)
				f.ring(stageBell(name.Run, name.Key))
				return view, nil
			}
			view.Changed = either(ctx, more, moved)
			return view, nil
		}
		if err != nil {
			return access.LogView{}, err
		}
		view.Segments = append(view.Segments, access.Segment{N: part.Segment, Line: part.Line, Offset: part.Offset, Text: part.Text})
		if size += len(part.Text); size >= batch {
			view.Changed = closed
			return view, nil
		}
	}
}

// closed tells a reader to come again at once.
var closed = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// logOver tells whether an attempt has printed all it will, and what its stage is
// then at.
func (s *Service) logOver(ctx context.Context, name LogName) (over bool, status string, err error) {
	st, err := s.stage(ctx, ref{org: name.Org, run: name.Run}, name.Key)
	if errors.Is(err, platform.ErrNotFound) {
		return false, "", problem.New(problem.NotFound, "There is no stage %s in run %s.", name.Key, name.Run)
	}
	if err != nil {
		return false, "", err
	}
	if st.Attempt > name.Attempt {
		return true, "", nil // the status is that of a later attempt
	}
	return st.Status.Final(), string(st.Status), nil
}

// parseLog reads the name of a log from outside: <run>/<stage key>/<attempt>.
func parseLog(org platform.Org, text string) (LogName, error) {
	parts := strings.Split(text, "/")
	if len(parts) != 3 {
		return LogName{}, problem.New(problem.NotFound, "There is no log %q: a log is named <run>/<stage key>/<attempt>.", text)
	}
	run, err := ParseRunID(parts[0])
	if err != nil {
		return LogName{}, err
	}
	key, err := ParseStageKey(parts[1])
	if err != nil {
		return LogName{}, err
	}
	attempt, err := strconv.Atoi(parts[2])
	if err != nil || attempt < 1 || attempt > 99 {
		return LogName{}, problem.New(problem.NotFound, "There is no attempt %q; attempts count from 1.", parts[2])
	}
	return LogName{org, run, key, attempt}, nil
}
