package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/coder/websocket"

	"github.com/buildit-dev/buildit/internal/access"
)

const (
	firstPause = 100 * time.Millisecond // before the first new connection
	lastPause  = 5 * time.Second
	lostFor    = 5 * time.Minute // without a server, then following ends
	// lastWords is how long logs may stay silent after the end of their run, before
	// we believe that nothing comes.
	lastWords    = 10 * time.Second
	maxFrameSize = 64 << 10
)

// follow prints the logs of a run, or of one stage of it from a line on, until it
// ends. A broken connection is made anew, and goes on where it was.
func follow(ctx context.Context, c *call, id, stage string, line int64) error {
	w := &watch{call: c, run: id, stage: stage, line: line, logs: map[string]*watched{}, out: newPrinter(c, stage != "")}
	pause, lost := firstPause, time.Time{}
	for {
		heard, err := w.connect(ctx)
		if heard {
			pause, lost = firstPause, time.Time{}
		}
		var final finalError
		switch {
		case err == nil:
			return errors.Join(w.out.flush(), w.result())
		case ctx.Err() != nil:
			return context.Canceled
		case errors.As(err, &final):
			return final.err
		case lost.IsZero() && (heard || w.status != ""):
			lost = time.Now()
			fmt.Fprintf(c.env.stderr, "buildit: the connection to %s is lost; resuming\n", c.server)
		case w.status == "" || time.Since(lost) > lostFor:
			return err
		}
		select {
		case <-ctx.Done():
			return context.Canceled
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
	}
}

// finalError is an error that another connection would not change.
type finalError struct{ err error }

func (f finalError) Error() string { return f.err.Error() }

// watch is what is known of a run that is followed.
type watch struct {
	*call
	run, stage string
	line       int64  // to begin with, 0 for the first
	status     string // of the run; "" before the first frame
	ended      bool   // the run is final
	stages     []access.StageView
	logs       map[string]*watched // by log id
	out        *printer
	conn       *websocket.Conn
}

// watched is one log: what of it we have.
type watched struct {
	stage string
	next  int   // segment
	have  int64 // bytes
	ended bool
}

// connect follows over one connection. It returns nil when everything has ended,
// and whether anything was heard.
func (w *watch) connect(ctx context.Context) (heard bool, err error) {
	conn, answer, err := websocket.Dial(ctx, w.address("/stream"), &websocket.DialOptions{
		HTTPClient: w.http, HTTPHeader: http.Header{"Authorization": {"Bearer " + w.token}},
	})
	if err != nil {
		if answer != nil && answer.StatusCode >= 400 && answer.StatusCode < 500 && answer.StatusCode != http.StatusTooManyRequests {
			return false, finalError{w.refused(answer)}
		}
		return false, w.unreachable(err)
	}
	defer conn.CloseNow() // where reading has failed it is closed already
	conn.SetReadLimit(maxFrameSize)
	w.conn = conn
	if err := w.subscribe(ctx); err != nil {
		return false, err
	}
	for !w.done() {
		frame, err := w.hear(ctx)
		if err != nil {
			if errors.Is(err, errSilent) {
				return true, nil
			}
			return heard, err
		}
		heard = true
		if err := w.take(ctx, frame); err != nil {
			return true, err
		}
	}
	return true, nil
}

// subscribe asks for the run, and for the logs that are open.
func (w *watch) subscribe(ctx context.Context) error {
	if err := w.say(ctx, access.Frame{Run: w.run}); err != nil {
		return err
	}
	for id, log := range w.logs {
		if !log.ended {
			if err := w.sayLog(ctx, id, log); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *watch) sayLog(ctx context.Context, id string, log *watched) error {
	from := access.From{Segment: log.next, Offset: log.have}
	if from == (access.From{}) {
		from.Line = w.line
	}
	return w.say(ctx, access.Frame{Log: id, From: &from})
}

func (w *watch) say(ctx context.Context, frame access.Frame) error {
	yes := true
	frame.Sub = &yes
	text, err := json.Marshal(frame)
	if err != nil {
		return err
	}
	return w.conn.Write(ctx, websocket.MessageText, text)
}

var errSilent = errors.New("nothing more came")

// hear reads one frame. After the end of the run silence ends it.
func (w *watch) hear(ctx context.Context) (access.Frame, error) {
	bounded := ctx
	if w.ended {
		var cancel context.CancelFunc
		bounded, cancel = context.WithTimeout(ctx, lastWords)
		defer cancel()
	}
	_, text, err := w.conn.Read(bounded)
	if err != nil {
		if w.ended && ctx.Err() == nil && bounded.Err() != nil {
			return access.Frame{}, errSilent
		}
		return access.Frame{}, err
	}
	var frame access.Frame
	err = json.Unmarshal(text, &frame)
	return frame, err
}

// take does what a frame says.
func (w *watch) take(ctx context.Context, frame access.Frame) error {
	switch {
	case frame.Problem != nil && frame.Run != "":
		return finalError{&refusal{Document: *frame.Problem}}
	case frame.Run != "":
		return w.takeRun(ctx, frame)
	}
	log := w.logs[frame.Log]
	if log == nil {
		return nil
	}
	if frame.Problem != nil || frame.End {
		log.ended = true
		return w.out.end(log.stage, frame)
	}
	payload := frame.Payload()
	if again := log.have - frame.Offset; again > 0 { // we had the beginning of this segment
		payload = payload[min(again, int64(len(payload))):]
	}
	if missing := frame.Offset - log.have; missing > 0 && log.have > 0 {
		fmt.Fprintf(w.env.stderr, "buildit: %s: %d bytes are left out here: the log is longer than what is kept of it\n", log.stage, missing)
	}
	log.have = max(log.have, frame.Offset+int64(frame.Bytes))
	if !frame.More {
		log.next = frame.N + 1
	}
	return w.out.write(log.stage, payload)
}

// takeRun keeps what has changed, and asks for the logs of attempts that are new.
func (w *watch) takeRun(ctx context.Context, frame access.Frame) error {
	w.ended = w.ended || frame.End
	if frame.Status != w.status || len(frame.Stages) > 0 {
		w.status = frame.Status
		if err := w.out.statuses(frame); err != nil {
			return err
		}
	}
	for _, stage := range frame.Stages {
		w.keep(stage)
		id := fmt.Sprintf("%s/%s/%d", w.run, stage.Key, stage.Attempt)
		if stage.Attempt == 0 || w.logs[id] != nil || !w.wanted(stage) {
			continue
		}
		log := &watched{stage: stage.Name}
		w.logs[id] = log
		if err := w.sayLog(ctx, id, log); err != nil {
			return err
		}
	}
	if w.stage != "" && !slices.ContainsFunc(w.stages, w.wanted) && (len(w.stages) > 0 || w.ended) {
		return finalError{fmt.Errorf("run %s has no stage %q; `buildit runs show %s` lists its stages", w.run, w.stage, w.run)}
	}
	return nil
}

func (w *watch) wanted(stage access.StageView) bool {
	return w.stage == "" || w.stage == stage.Name || w.stage == stage.Key
}

func (w *watch) keep(stage access.StageView) {
	i := slices.IndexFunc(w.stages, func(s access.StageView) bool { return s.Key == stage.Key })
	if i < 0 {
		w.stages = append(w.stages, stage)
		return
	}
	w.stages[i] = stage
}

// done tells whether the run, or the stage that was asked for, and its logs have ended.
func (w *watch) done() bool {
	for _, log := range w.logs {
		if !log.ended {
			return false
		}
	}
	if w.ended || w.stage == "" {
		return w.ended
	}
	for _, stage := range w.stages {
		if w.wanted(stage) && !isFinal(stage.Status) {
			return false
		}
	}
	return slices.ContainsFunc(w.stages, w.wanted)
}

func isFinal(status string) bool {
	return slices.Contains([]string{"succeeded", "failed", "allowed", "errored", "timed_out", "canceled", "skipped"}, status)
}

// result is the exit code's error: that of the stage that was asked for, else of the run.
func (w *watch) result() error {
	status := w.status
	if w.stage != "" {
		for _, stage := range w.stages {
			if w.wanted(stage) && (resultError{stage.Status}).code() != exitDone {
				return resultError{stage.Status}
			}
		}
		return nil
	}
	if (resultError{status}).code() == exitDone {
		return nil
	}
	return resultError{status}
}
