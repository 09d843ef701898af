package platformtest

import (
	"strings"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// TimerStore is a driver under test, without timers, and running.
type TimerStore struct {
	platform.Timers
	Queues platform.Queues
	Clock  platform.Clock
	Elapse func(time.Duration) // has time pass for the timers
}

// Timers checks everything that platform.Timers promises. open returns a driver
// without timers, once for each case.
func Timers(t *testing.T, open func(t *testing.T) TimerStore) {
	run(t, open, []Case[TimerStore]{
		{"timer/at-instant", timerAtInstant},
		{"timer/past-is-due", timerPast},
		{"timer/create-idempotent", timerIdempotent},
		{"timer/update-replaces", timerReplaced},
		{"timer/cancel", timerCancel},
		{"timer/many", timerMany},
		{"timer/bounds", timerBounds},
	})
}

func dueIn(s TimerStore, name string, in time.Duration, body string) platform.Timer {
	return platform.Timer{Name: name, At: s.Clock.Now().Add(in), Queue: "due", Body: []byte(body)}
}

func timerAtInstant(t *testing.T, s TimerStore) {
	noError(t, s.Set(t.Context(), dueIn(s, "one", 10*time.Second, "one")))
	s.Elapse(10*time.Second - time.Millisecond)
	receiveNone(t, s.Queues, "due") // never early
	s.Elapse(time.Millisecond)
	m := receiveOne(t, s.Queues, "due", "one", 1)
	noError(t, s.Queues.Delete(t.Context(), "due", m.Receipt))
	s.Elapse(time.Hour)
	receiveNone(t, s.Queues, "due") // once
	noError(t, s.Set(t.Context(), dueIn(s, "one", time.Second, "anew")))
	s.Elapse(time.Second)
	receiveOne(t, s.Queues, "due", "anew", 1)
}

func timerPast(t *testing.T, s TimerStore) {
	noError(t, s.Set(t.Context(), dueIn(s, "past", -time.Hour, "past")))
	receiveOne(t, s.Queues, "due", "past", 1)
}

func timerIdempotent(t *testing.T, s TimerStore) {
	same := dueIn(s, "same", time.Minute, "same")
	for range 3 {
		noError(t, s.Set(t.Context(), same))
	}
	s.Elapse(time.Minute)
	receiveOne(t, s.Queues, "due", "same", 1)
	receiveNone(t, s.Queues, "due")
}

func timerReplaced(t *testing.T, s TimerStore) {
	noError(t, s.Set(t.Context(), dueIn(s, "moved", time.Minute, "early")))
	later := dueIn(s, "moved", time.Hour, "late")
	later.Queue = "other"
	noError(t, s.Set(t.Context(), later))
	s.Elapse(30 * time.Minute)
	receiveNone(t, s.Queues, "due")
	receiveNone(t, s.Queues, "other")
	noError(t, s.Set(t.Context(), dueIn(s, "moved", time.Minute, "earlier")))
	s.Elapse(time.Minute)
	receiveOne(t, s.Queues, "due", "earlier", 1)
	s.Elapse(time.Hour)
	receiveNone(t, s.Queues, "other")
}

func timerCancel(t *testing.T, s TimerStore) {
	noError(t, s.Set(t.Context(), dueIn(s, "off", time.Minute, "off")))
	noError(t, s.Set(t.Context(), dueIn(s, "on", time.Minute, "on")))
	for range 2 { // none is no error
		noError(t, s.Cancel(t.Context(), "off"))
	}
	s.Elapse(time.Hour)
	receiveOne(t, s.Queues, "due", "on", 1)
	receiveNone(t, s.Queues, "due")
}

func timerMany(t *testing.T, s TimerStore) {
	const many = 250 // more than a driver sends in one go
	at := dueIn(s, "", time.Minute, "one of many")
	for i := range many {
		at.Name = strings.Repeat("n", 10) + "-" + string(number(i))
		noError(t, s.Set(platform.Relaxed(t.Context()), at))
	}
	s.Elapse(time.Minute)
	messages := receive(t, s.Queues, "due", many)
	equal(t, "messages", len(messages), many)
}

func timerBounds(t *testing.T, s TimerStore) {
	good := dueIn(s, "good", time.Hour, "x")
	for name, change := range map[string]func(*platform.Timer){
		"no name":         func(t *platform.Timer) { t.Name = "" },
		"a name of 65":    func(t *platform.Timer) { t.Name = strings.Repeat("n", 65) },
		"a name with /":   func(t *platform.Timer) { t.Name = "a/b" },
		"no instant":      func(t *platform.Timer) { t.At = time.Time{} },
		"no queue":        func(t *platform.Timer) { t.Queue = "" },
		"an empty body":   func(t *platform.Timer) { t.Body = nil },
		"a body too long": func(t *platform.Timer) { t.Body = make([]byte, platform.MaxMessage+1) },
	} {
		bad := good
		change(&bad)
		if err := s.Set(t.Context(), bad); err == nil {
			t.Errorf("a timer with %s was set", name)
		}
	}
	good.Name = strings.Repeat("n", 64)
	noError(t, s.Set(t.Context(), good))
}
