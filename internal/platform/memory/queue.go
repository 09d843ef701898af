package memory

import (
	"container/heap"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/bell"
)

// Queues is the queue port in memory.
type Queues struct {
	clock platform.Clock
	bells bell.Bells

	mu     sync.Mutex
	queues map[string]*queue
	sent   int // messages since the start, which numbers them
}

// NewQueues makes queues whose delays and visibility follow clock.
func NewQueues(clock platform.Clock) *Queues {
	return &Queues{clock: clock, queues: map[string]*queue{}}
}

// queue is its messages by the instant at which they become visible.
type queue struct {
	order     byVisible
	delivered map[string]*message // by the receipt of the latest delivery
}

type message struct {
	platform.Message
	number    int
	visible   time.Time
	delivered time.Time // of the latest delivery
	place     int       // in order
}

// Send implements platform.Queues.
func (q *Queues) Send(_ context.Context, name string, body []byte, delay time.Duration) error {
	if err := platform.CheckSend(name, body, delay); err != nil {
		return err
	}
	now := q.clock.Now()
	q.mu.Lock()
	q.sent++
	heap.Push(&q.queue(name).order, &message{
		Message: platform.Message{ID: strconv.Itoa(q.sent), Body: slices.Clone(body), Sent: now},
		number:  q.sent,
		visible: now.Add(delay),
	})
	q.mu.Unlock()
	q.bells.Ring(name)
	return nil
}

// Receive implements platform.Queues.
func (q *Queues) Receive(ctx context.Context, name string, limit int, wait, visibility time.Duration) ([]platform.Message, error) {
	if err := platform.CheckReceive(name, limit, wait, visibility); err != nil {
		return nil, err
	}
	waiter := q.bells.Listen(name)
	defer waiter.Stop()
	end := q.clock.Now().Add(wait)
	for {
		messages, next := q.take(name, limit, visibility)
		left := end.Sub(q.clock.Now())
		if len(messages) > 0 || left <= 0 {
			return messages, nil
		}
		if err := waiter.Wait(ctx, q.clock, min(left, next)); err != nil {
			return nil, err
		}
	}
}

// take delivers what is visible now, and says in how long it is worth looking again.
func (q *Queues) take(name string, limit int, visibility time.Duration) ([]platform.Message, time.Duration) {
	now := q.clock.Now()
	var messages []platform.Message
	q.mu.Lock()
	defer q.mu.Unlock()
	from := q.queue(name)
	var taken []*message
	for len(messages) < limit && len(from.order) > 0 && !from.order[0].visible.After(now) {
		m := heap.Pop(&from.order).(*message)
		delete(from.delivered, m.Receipt)
		if m.Receives >= platform.MaxReceives && !platform.IsDeadLetters(name) {
			q.bury(name, m)
			continue
		}
		m.Receives++
		m.Receipt = fmt.Sprintf("%s.%d", m.ID, m.Receives)
		m.visible, m.delivered = now.Add(visibility), now
		from.delivered[m.Receipt] = m
		taken = append(taken, m)
		messages = append(messages, copyOf(m))
	}
	for _, m := range taken {
		heap.Push(&from.order, m)
	}
	if len(from.order) == 0 {
		return messages, platform.MaxVisibility
	}
	return messages, from.order[0].visible.Sub(now)
}

// bury moves a message that was received too often to the dead letters.
func (q *Queues) bury(name string, m *message) {
	dead := platform.DeadLetters(name)
	m.Receives, m.Receipt = 0, ""
	heap.Push(&q.queue(dead).order, m)
	q.bells.Ring(dead)
}

// Delete implements platform.Queues.
func (q *Queues) Delete(_ context.Context, name string, receipts ...string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	from := q.queue(name)
	for _, receipt := range receipts {
		if m, ok := from.delivered[receipt]; ok {
			heap.Remove(&from.order, m.place)
			delete(from.delivered, receipt)
		}
	}
	return nil
}

// Extend implements platform.Queues.
func (q *Queues) Extend(_ context.Context, name, receipt string, d time.Duration) error {
	now := q.clock.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	from := q.queue(name)
	m, ok := from.delivered[receipt]
	if !ok || !m.visible.After(now) {
		return fmt.Errorf("extend a message of %s: its delivery is over: %w", name, platform.ErrGone)
	}
	if err := platform.CheckExtend(now.Sub(m.delivered), d); err != nil {
		return err
	}
	m.visible = now.Add(d)
	heap.Fix(&from.order, m.place)
	q.bells.Ring(name) // its end may be nearer than what a waiter waits for
	return nil
}

func (q *Queues) queue(name string) *queue {
	if q.queues[name] == nil {
		q.queues[name] = &queue{delivered: map[string]*message{}}
	}
	return q.queues[name]
}

func copyOf(m *message) platform.Message {
	sent := m.Message
	sent.Body = slices.Clone(m.Body)
	return sent
}

// byVisible is a heap: first what is visible first, then what was sent first.
type byVisible []*message

func (h byVisible) Len() int { return len(h) }
func (h byVisible) Less(i, j int) bool {
	if c := h[i].visible.Compare(h[j].visible); c != 0 {
		return c < 0
	}
	return h[i].number < h[j].number
}

func (h byVisible) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *byVisible) Push(x any) {
	m := x.(*message)
	m.place = len(*h)
	*h = append(*h, m)
}

func (h *byVisible) Pop() any {
	last := len(*h) - 1
	m := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return m
}
