package platformtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// ConsumerStore is queues without messages, and the clock that they follow.
type ConsumerStore struct {
	platform.Queues
	Clock *Clock
}

// Consumers checks what platform.Consumer promises over a home's queues.
func Consumers(t *testing.T, open func(t *testing.T) ConsumerStore) {
	run(t, open, []Case[ConsumerStore]{
		{"queue/batch-partial", consumeBatchPartial},
		{"queue/duplicate-delivery", consumeDuplicate},
		{"queue/F36-poison-message", consumePoison},
		{"queue/long-handler", consumeLongHandler},
		{"queue/panic-is-an-error", consumePanic},
		{"queue/limit-of-handlers", consumeLimit},
		{"queue/end-waits-for-handlers", consumeEnd},
	})
}

// hidden is for how long consumers hide a message: longer than any test's clock runs
// while a handler does, since that clock waits for nobody.
const hidden = 6 * time.Hour

// consume runs a consumer of the queue "work" until the answer is called, or the
// test has ended.
func consume(t *testing.T, q ConsumerStore, limit int, handle func(context.Context, platform.Message) error) (stop func()) {
	t.Helper()
	c := newConsumer(q, limit, handle)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() { c.Run(ctx) })
	stop = func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(stop)
	return stop
}

func newConsumer(q ConsumerStore, limit int, handle func(context.Context, platform.Message) error) platform.Consumer {
	return platform.Consumer{
		Queues: q, Clock: q.Clock, Log: slog.New(slog.DiscardHandler),
		Queue: "work", Handle: handle, Limit: limit, Visibility: hidden,
	}
}

// tally counts what handlers have seen.
type tally struct {
	mu    sync.Mutex
	seen  map[string]int
	total int
}

func (c *tally) add(m platform.Message) (times int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		c.seen = map[string]int{}
	}
	c.seen[string(m.Body)]++
	c.total++
	return c.seen[string(m.Body)]
}

func (c *tally) times(body string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen[body]
}

var errHandler = errors.New("the handler failed")

// consumeBatchPartial: what failed is tried again, the rest is deleted.
func consumeBatchPartial(t *testing.T, q ConsumerStore) {
	for i := range 10 {
		sendText(t, q, "work", fmt.Sprint(i))
	}
	var seen tally
	stop := consume(t, q, 10, func(_ context.Context, m platform.Message) error {
		if seen.add(m) < 3 && (string(m.Body) == "3" || string(m.Body) == "7") {
			return errHandler
		}
		return nil
	})
	eventually(t, "two messages handled three times", q.Clock.Advance, time.Second, func() bool {
		return seen.times("3") == 3 && seen.times("7") == 3
	})
	stop()
	q.Clock.Advance(2 * hidden)
	receiveNone(t, q, "work")
	receiveNone(t, q, platform.DeadLetters("work"))
	for i := range 10 {
		want := 1
		if i == 3 || i == 7 {
			want = 3
		}
		equal(t, fmt.Sprint("handlings of ", i), seen.times(fmt.Sprint(i)), want)
	}
}

// consumeDuplicate: a handler that dies after its effect sees the message again.
func consumeDuplicate(t *testing.T, q ConsumerStore) {
	sendText(t, q, "work", "effect")
	effects := map[string]bool{}
	var seen tally
	consume(t, q, 1, func(_ context.Context, m platform.Message) error {
		effects[m.ID] = true // by the message's id: harmless the second time
		if seen.add(m) == 1 {
			return errHandler
		}
		return nil
	})
	eventually(t, "the second delivery", q.Clock.Advance, time.Second, func() bool { return seen.times("effect") == 2 })
	equal(t, "effects", len(effects), 1)
}

func consumePoison(t *testing.T, q ConsumerStore) {
	sendText(t, q, "work", "poison")
	var seen tally
	consume(t, q, 2, func(_ context.Context, m platform.Message) error {
		seen.add(m)
		if string(m.Body) == "poison" {
			return errHandler
		}
		return nil
	})
	sendText(t, q, "work", "other")
	eventually(t, "the other message", q.Clock.Advance, 0, func() bool { return seen.times("other") == 1 })
	var dead []platform.Message
	eventually(t, "the poison message among the dead letters", q.Clock.Advance, 10*time.Second, func() bool {
		var err error
		dead, err = q.Receive(t.Context(), platform.DeadLetters("work"), 1, 0, visibility)
		noError(t, err)
		return len(dead) == 1
	})
	equal(t, "the dead letter", string(dead[0].Body), "poison")
	equal(t, "handlings", seen.times("poison"), platform.MaxReceives)
}

// consumeLongHandler: a message that takes long to handle is not delivered twice.
func consumeLongHandler(t *testing.T, q ConsumerStore) {
	sendText(t, q, "work", "long")
	var seen tally
	end := make(chan struct{})
	consume(t, q, 2, func(_ context.Context, m platform.Message) error {
		seen.add(m)
		<-end
		return nil
	})
	eventually(t, "the delivery", q.Clock.Advance, 0, func() bool { return seen.times("long") == 1 })
	for range 5 { // nearly as long as a message may be hidden
		q.Clock.AwaitTimers(t, 2) // the extension of the visibility, and the poll
		q.Clock.Advance(hidden / 3)
	}
	equal(t, "deliveries", seen.times("long"), 1)
	close(end)
}

func consumePanic(t *testing.T, q ConsumerStore) {
	sendText(t, q, "work", "panics")
	var seen tally
	consume(t, q, 1, func(_ context.Context, m platform.Message) error {
		if seen.add(m) == 1 {
			panic("a mistake of ours")
		}
		return nil
	})
	eventually(t, "the second delivery", q.Clock.Advance, time.Second, func() bool { return seen.times("panics") == 2 })
}

func consumeLimit(t *testing.T, q ConsumerStore) {
	const many, limit = 30, 3
	for i := range many {
		sendText(t, q, "work", fmt.Sprint(i))
	}
	inside, leave := make(chan string, many), make(chan struct{})
	consume(t, q, limit, func(_ context.Context, m platform.Message) error {
		inside <- string(m.Body)
		<-leave
		return nil
	})
	handled := limit
	for range limit {
		arrives(t, inside)
	}
	for ; handled < many; handled++ {
		equal(t, "handlers beyond the limit", len(inside), 0)
		leave <- struct{}{}
		arrives(t, inside)
	}
	close(leave)
}

func arrives[T any](t *testing.T, values <-chan T) T {
	t.Helper()
	select {
	case v := <-values:
		return v
	case <-within(t).Done():
		t.Fatalf("nothing arrived within %s", patience)
		panic("unreachable")
	}
}

// consumeEnd: the end of a consumer cuts no handler short, and what it has done is
// deleted.
func consumeEnd(t *testing.T, q ConsumerStore) {
	sendText(t, q, "work", "last")
	begun, ended := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(ended)
		newConsumer(q, 1, func(ctx context.Context, _ platform.Message) error {
			close(begun)
			<-ctx.Done() // it is told
			return nil
		}).Run(ctx)
	}()
	arrives(t, begun)
	cancel()
	arrives(t, ended)
	q.Clock.Advance(2 * hidden)
	receiveNone(t, q, "work")
}
