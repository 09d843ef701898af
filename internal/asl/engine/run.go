package engine

import (
	"container/heap"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/buildit-dev/buildit/internal/asl"
	"github.com/buildit-dev/buildit/internal/platform"
)

const (
	// maxNap bounds how long the flow sleeps at once, so that a machine that was
	// suspended notices what became due by the calendar meanwhile.
	maxNap = 10 * time.Second
	// grace is how long calls under way may go on when Run is told to end.
	grace = 5 * time.Second
	// pauses between attempts to store what a call has answered.
	firstPause, longestPause = 50 * time.Millisecond, 5 * time.Second
)

// life is one run of Run.
type life struct {
	ctx   context.Context // of the calls; it ends a while after Run's
	work  sync.WaitGroup
	ended bool // guarded by the flow's lock: no new work
}

// Run executes what is due until ctx ends, and returns nil then: it waits a while
// for calls under way, and leaves those that take longer to be made again by the
// next Run.
func (f *Flow) Run(ctx context.Context) error {
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	l := &life{ctx: inner}
	f.mu.Lock()
	if f.life != nil {
		f.mu.Unlock()
		return errors.New("this flow runs already")
	}
	f.life = l
	open := make([]*entry, 0, len(f.entries))
	for _, e := range f.entries {
		open = append(open, e)
	}
	f.mu.Unlock()
	for _, e := range open {
		f.later(e)
	}
	f.ring(ctx)

	f.mu.Lock()
	l.ended = true
	f.life = nil
	f.mu.Unlock()
	stop := f.options.Clock.AfterFunc(grace, cancel)
	l.work.Wait()
	stop()
	return nil
}

func (f *Flow) running() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.life != nil
}

// spawn does work in a goroutine that Run waits for. Without Run it does nothing.
func (f *Flow) spawn(work func(ctx context.Context)) {
	f.mu.Lock()
	l := f.life
	if l == nil || l.ended {
		f.mu.Unlock()
		return
	}
	l.work.Add(1)
	f.mu.Unlock()
	go func() {
		defer l.work.Done()
		work(l.ctx)
	}()
}

// later lets an execution advance soon.
func (f *Flow) later(e *entry) {
	f.spawn(func(ctx context.Context) {
		f.persist(ctx, e, func(*asl.Run, time.Time) error { return nil })
	})
}

// persist makes a change that has to be made: it repeats until it is stored or
// the flow ends, with pauses. A change that has become pointless is dropped.
func (f *Flow) persist(ctx context.Context, e *entry, do func(run *asl.Run, now time.Time) error) {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := e.change(ctx, true, do)
		if err == nil || errors.Is(err, platform.ErrGone) || ctx.Err() != nil {
			return
		}
		f.options.Log.ErrorContext(ctx, "execution not stored", "machine", e.key.machine, "execution", e.key.name, "err", err)
		if f.options.Clock.Sleep(ctx, pause) != nil {
			return
		}
	}
}

// alarms are the entries that time will wake, the earliest first.
type alarms []*entry

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a alarms) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].alarm, a[j].alarm = i, j
}

// Push and Pop are for container/heap.
func (a *alarms) Push(e any) {
	entry := e.(*entry)
	entry.alarm = len(*a)
	*a = append(*a, entry)
}

func (a *alarms) Pop() any {
	last := len(*a) - 1
	e := (*a)[last]
	e.alarm = -1
	(*a)[last] = nil
	*a = (*a)[:last]
	return e
}

// setAlarm wakes e at a time; the zero time never. The flow's lock is held.
func (f *Flow) setAlarm(e *entry, at time.Time) {
	e.at = at
	switch {
	case at.IsZero() && e.alarm >= 0:
		heap.Remove(&f.alarms, e.alarm)
	case at.IsZero():
		return
	case e.alarm >= 0:
		heap.Fix(&f.alarms, e.alarm)
	default:
		heap.Push(&f.alarms, e)
	}
	if e.alarm == 0 {
		select {
		case f.rearm <- struct{}{}:
		default:
		}
	}
}

// ring wakes entries when their time has come, until ctx ends.
func (f *Flow) ring(ctx context.Context) {
	for ctx.Err() == nil {
		due, nap := f.due(f.options.Clock.Now())
		for _, e := range due {
			f.later(e)
		}
		if len(due) > 0 {
			continue
		}
		woken := make(chan struct{})
		stop := func() bool { return true }
		if nap > 0 {
			stop = f.options.Clock.AfterFunc(nap, func() { close(woken) })
		}
		select {
		case <-woken:
		case <-f.rearm:
		case <-ctx.Done():
		}
		stop()
	}
}

// due takes the entries whose time has come, or says how long to sleep; 0 is
// until there is an alarm.
func (f *Flow) due(now time.Time) (due []*entry, nap time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.alarms) > 0 && !now.Before(f.alarms[0].at) {
		due = append(due, heap.Pop(&f.alarms).(*entry))
	}
	if len(due) > 0 || len(f.alarms) == 0 {
		return due, 0
	}
	return nil, min(f.alarms[0].at.Sub(now), maxNap)
}
