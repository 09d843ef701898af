package access

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/buildit-dev/buildit/internal/problem"
)

// LogSource reads logs of attempts as they grow. log is "<run>/<stage key>/<attempt>".
type LogSource interface {
	// Segments returns stored segments from the one that from names, in order and
	// without gaps, about 1 MiB at most. It checks that the caller may read the
	// log; a log that is not there, or another organization's, is problem.NotFound.
	// That of an attempt that has not begun is empty.
	Segments(ctx context.Context, caller Caller, log string, from From) (LogView, error)
}

// From is where a subscription to a log begins.
type From struct {
	Segment int   `json:"segment,omitempty"` // its number, from 0
	Offset  int64 `json:"offset,omitempty"`  // beside it: of the first byte that is wanted; the segments before are had
	Line    int64 `json:"line,omitempty"`    // or: the beginning of this line, from 1
	End     bool  `json:"end,omitempty"`     // or: what comes from now on
}

// LogView is a log from some segment on, as it stands.
type LogView struct {
	Segments []Segment
	Next     From   // where to go on
	Ended    bool   // nothing will come behind these segments
	Status   string // of the attempt's stage, once Ended
	// Changed is closed when there is more to read, or the log has ended. Taken
	// before the log was read, so that nothing falls between. Not set once Ended.
	Changed <-chan struct{}
}

// Segment is a numbered piece of a log, after masking. A line may go on in the
// next segment.
type Segment struct {
	N      int    // from 0, without gaps
	Line   int64  // number of its first line, from 1
	Offset int64  // of its first byte in the log
	Text   []byte // any bytes
}

// RunSource reads runs as they change.
type RunSource interface {
	// Run describes a run to a caller who may read it, or fails with
	// problem.NotFound.
	Run(ctx context.Context, caller Caller, run string) (RunView, error)
}

// RunView is a run with its stages, as it stands.
type RunView struct {
	Status  string
	Why     string // of one that waits
	Final   bool
	Stages  []StageView
	Changed <-chan struct{} // closed when any of it has changed; not set once Final
}

// StageView is a stage in a stream. Its log is "<run>/<Key>/<Attempt>".
type StageView struct {
	Key     string `json:"key"`
	Name    string `json:"name"`
	Status  string `json:"status"`
	Attempt int    `json:"attempt"`
	Why     string `json:"why,omitempty"` // of one that waits
}

// Frame is what travels on a stream, both ways. The client sends Sub with Log and
// From, or with Run: true subscribes, false ends it. The server answers
//
//	{log, n, line, lines, offset, bytes, text}  a segment; more: it goes on in the next frame
//	{log, end, status}                          the log is complete
//	{run, status, stages}                       the run, with the stages that have changed
//	{run, end, status}                          the run is final
//	{log or run, problem}                       the subscription is refused, or has broken
//
// A client that lost its stream subscribes again from the segment that it wants
// next, with the offset that it has; the number alone is a bookmark for a day, and
// what then comes before the offset is to be dropped. An offset beyond what the
// client has is a gap: the log was longer than what is kept of it.
type Frame struct {
	Sub  *bool  `json:"sub,omitempty"`
	Log  string `json:"log,omitempty"`
	Run  string `json:"run,omitempty"`
	From *From  `json:"from,omitempty"`

	N      int    `json:"n,omitempty"`
	Line   int64  `json:"line,omitempty"`
	Lines  int64  `json:"lines,omitempty"` // line ends in it
	Offset int64  `json:"offset,omitempty"`
	Bytes  int    `json:"bytes,omitempty"`
	Text   string `json:"text,omitempty"` // the bytes, where they are UTF-8
	Data   []byte `json:"data,omitempty"` // the bytes in base64, where they are not
	More   bool   `json:"more,omitempty"`

	Status  string            `json:"status,omitempty"`
	Why     string            `json:"why,omitempty"` // of a run that waits
	Stages  []StageView       `json:"stages,omitempty"`
	End     bool              `json:"end,omitempty"`
	Problem *problem.Document `json:"problem,omitempty"`
}

// follower is one open stream.
type follower struct {
	streams *Streams
	conn    *websocket.Conn
	caller  Caller
	request string
	cancel  context.CancelCauseFunc
	running sync.WaitGroup

	mu   sync.Mutex
	open map[string]context.CancelFunc // subscriptions by what they follow
}

// read serves what the client asks for, until the connection ends. It reads
// without a deadline: closing the connection ends it.
func (f *follower) read(ctx context.Context) {
	for {
		kind, text, err := f.conn.Read(context.WithoutCancel(ctx))
		if err != nil {
			f.cancel(err)
			return
		}
		if err := f.obey(ctx, kind, text); err != nil {
			f.cancel(err)
		}
	}
}

// obey does what one frame of the client says.
func (f *follower) obey(ctx context.Context, kind websocket.MessageType, text []byte) error {
	var asked Frame
	if kind != websocket.MessageText || json.Unmarshal(text, &asked) != nil ||
		asked.Sub == nil || (asked.Log == "") == (asked.Run == "") {
		return closing{websocket.StatusPolicyViolation, "a frame is {sub, log, from} or {sub, run}"}
	}
	return f.take(ctx, asked)
}

// take begins or ends a subscription. One that is open already stays as it is.
func (f *follower) take(ctx context.Context, asked Frame) error {
	topic := "log " + asked.Log
	if asked.Run != "" {
		topic = "run " + asked.Run
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	stop, isOpen := f.open[topic]
	switch {
	case ctx.Err() != nil:
		return nil
	case !*asked.Sub && isOpen:
		stop()
		delete(f.open, topic)
		return nil
	case !*asked.Sub || isOpen:
		return nil
	case len(f.open) >= maxSubscriptions:
		return closing{websocket.StatusPolicyViolation, "too many subscriptions"}
	}
	ctx, cancel := context.WithCancel(ctx)
	f.open[topic] = cancel
	f.running.Go(func() {
		defer cancel()
		f.serve(ctx, asked)
		f.forget(ctx, topic)
	})
	return nil
}

// forget makes room for another subscription. One that the client has ended was
// forgotten then, and may have been opened anew.
func (f *follower) forget(ctx context.Context, topic string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ctx.Err() == nil {
		delete(f.open, topic)
	}
}

// serve follows a log or a run to its end. What goes wrong is told once.
func (f *follower) serve(ctx context.Context, asked Frame) {
	follow := f.followLog
	if asked.Run != "" {
		follow = f.followRun
	}
	err := follow(ctx, asked)
	if err == nil || ctx.Err() != nil {
		return
	}
	told := problem.Describe(err, f.request)
	if told.Status >= 500 {
		f.streams.Log.ErrorContext(ctx, "subscription broke", "request", f.request, "err", err)
	}
	if err := f.write(ctx, Frame{Log: asked.Log, Run: asked.Run, Problem: &told}); err != nil {
		f.cancel(err)
	}
}

func (f *follower) followLog(ctx context.Context, asked Frame) error {
	if !f.caller.May(LogRead) {
		return errAbsent
	}
	var from From
	if asked.From != nil {
		from = *asked.From
	}
	for {
		view, err := f.streams.Logs.Segments(ctx, f.caller, asked.Log, from)
		if err != nil {
			return err
		}
		for _, segment := range view.Segments {
			if err := f.sendSegment(ctx, asked.Log, segment); err != nil {
				f.cancel(err)
				return nil
			}
		}
		from = view.Next
		switch {
		case view.Ended:
			return f.end(ctx, Frame{Log: asked.Log, End: true, Status: view.Status})
		case len(view.Segments) == 0 && !await(ctx, view.Changed):
			return nil
		}
	}
}

// runPause is the least time between two reads of a run that is followed: every read
// is of all its stages, of which many may change at once.
const runPause = 20 * time.Millisecond

func (f *follower) followRun(ctx context.Context, asked Frame) error {
	if !f.caller.May(RunRead) {
		return errAbsent
	}
	seen := map[string]StageView{}
	status, why := "", ""
	for {
		pause := time.After(runPause)
		view, err := f.streams.Runs.Run(ctx, f.caller, asked.Run)
		if err != nil {
			return err
		}
		frame := Frame{Run: asked.Run, Status: view.Status, Why: view.Why}
		for _, stage := range view.Stages {
			if seen[stage.Key] != stage {
				seen[stage.Key] = stage
				frame.Stages = append(frame.Stages, stage)
			}
		}
		if len(frame.Stages) > 0 || status != view.Status || why != view.Why {
			status, why = view.Status, view.Why
			if err := f.sendRun(ctx, frame); err != nil {
				f.cancel(err)
				return nil
			}
		}
		switch {
		case view.Final:
			return f.end(ctx, Frame{Run: asked.Run, End: true, Status: view.Status})
		case !await(ctx, view.Changed) || !await(ctx, pause):
			return nil
		}
	}
}

func (f *follower) end(ctx context.Context, frame Frame) error {
	if err := f.write(ctx, frame); err != nil {
		f.cancel(err)
	}
	return nil
}

func await[T any](ctx context.Context, changed <-chan T) bool {
	select {
	case <-ctx.Done():
		return false
	case <-changed:
		return true
	}
}
