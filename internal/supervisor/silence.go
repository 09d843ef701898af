package supervisor

import (
	"context"
	"sync"
	"time"
)

// silenceWatch stops the work when the commands have been silent for too long. It
// wakes when the limit could be reached, and never in between.
type silenceWatch struct {
	*attempt
	stop context.CancelCauseFunc

	mu     sync.Mutex
	over   bool
	cancel func() bool
}

func (w *silenceWatch) arm(wait time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.cancel = w.clock.AfterFunc(wait, w.look)
	}
}

func (w *silenceWatch) look() {
	silent := w.out.silence()
	if silent < w.job.Idle {
		w.arm(w.job.Idle - silent)
		return
	}
	w.stop(failed(ReasonIdleTimeout, "There was no output for %v, the idle limit. %s", w.job.Idle, w.whatRan()))
}

func (w *silenceWatch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.cancel()
}
