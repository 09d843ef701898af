package platformtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// QueueStore is a driver under test, without messages.
type QueueStore struct {
	platform.Queues
	Elapse func(time.Duration) // has time pass for the queues
}

// Queues checks everything that platform.Queues promises. open returns a driver
// without messages, once for each case.
func Queues(t *testing.T, open func(t *testing.T) QueueStore) {
	run(t, open, []Case[QueueStore]{
		{"queue/send-receive-delete", queueSend},
		{"queue/redelivery", queueRedelivery},
		{"queue/stale-handle", queueStaleHandle},
		{"queue/dead-letter", queueDeadLetter},
		{"queue/visibility-change", queueVisibilityChange},
		{"queue/delay", queueDelay},
		{"queue/payload-guard", queuePayloadGuard},
		{"queue/bounds", queueBounds},
		{"queue/long-poll", queueLongPoll},
		{"queue/queues-are-apart", queueApart},
		{"queue/many-consumers", queueManyConsumers},
	})
}

const visibility = 30 * time.Second

func sendText(t *testing.T, q platform.Queues, queue, body string) {
	t.Helper()
	noError(t, q.Send(t.Context(), queue, []byte(body), 0))
}

// receive waits for n messages, on a clock that stands still.
func receive(t *testing.T, q platform.Queues, queue string, n int) (messages []platform.Message) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d messages in %s", n, queue), noElapse, 0, func() bool {
		more, err := q.Receive(t.Context(), queue, 10, 0, visibility)
		noError(t, err)
		messages = append(messages, more...)
		return len(messages) >= n
	})
	return messages
}

func receiveOne(t *testing.T, q platform.Queues, queue, body string, receives int) platform.Message {
	t.Helper()
	m := receive(t, q, queue, 1)[0]
	equal(t, "the body", string(m.Body), body)
	equal(t, "receives", m.Receives, receives)
	return m
}

func receiveNone(t *testing.T, q platform.Queues, queue string) {
	t.Helper()
	messages, err := q.Receive(t.Context(), queue, 10, 0, visibility)
	noError(t, err)
	equal(t, "messages in "+queue, len(messages), 0)
}

func queueSend(t *testing.T, q QueueStore) {
	var want []string
	for i := range 25 {
		body := fmt.Sprintf("message %02d", i)
		sendText(t, q, "work", body)
		want = append(want, body)
	}
	var got, ids []string
	for len(got) < len(want) {
		messages, err := q.Receive(t.Context(), "work", 4, 0, visibility)
		noError(t, err)
		if len(messages) > 4 {
			t.Errorf("%d messages, asked for 4", len(messages))
		}
		for _, m := range messages {
			got, ids = append(got, string(m.Body)), append(ids, m.ID)
			noError(t, q.Delete(t.Context(), "work", m.Receipt))
			if m.Sent.IsZero() {
				t.Error("a message without the instant that it was sent at")
			}
		}
	}
	slices.Sort(got)
	equalList(t, "bodies", got, want)
	slices.Sort(ids)
	equal(t, "different ids", len(slices.Compact(ids)), len(want))
	q.Elapse(2 * visibility)
	receiveNone(t, q, "work")
}

func queueRedelivery(t *testing.T, q QueueStore) {
	sendText(t, q, "work", "again")
	first := receiveOne(t, q, "work", "again", 1)
	receiveNone(t, q, "work")
	q.Elapse(visibility + time.Second)
	second := receiveOne(t, q, "work", "again", 2)
	equal(t, "the id", second.ID, first.ID)
	if second.Receipt == first.Receipt {
		t.Error("two deliveries have one receipt")
	}
	noError(t, q.Delete(t.Context(), "work", second.Receipt))
	q.Elapse(visibility + time.Second)
	receiveNone(t, q, "work")
}

func queueStaleHandle(t *testing.T, q QueueStore) {
	sendText(t, q, "work", "stale")
	first := receiveOne(t, q, "work", "stale", 1)
	q.Elapse(visibility + time.Second)
	second := receiveOne(t, q, "work", "stale", 2)
	noError(t, q.Delete(t.Context(), "work", first.Receipt)) // may or may not delete
	isError(t, q.Extend(t.Context(), "work", first.Receipt, visibility), platform.ErrGone)
	noError(t, q.Delete(t.Context(), "work", second.Receipt))
	noError(t, q.Delete(t.Context(), "work", second.Receipt, first.Receipt, "nonsense", "1.2.3", ""))
	sendText(t, q, "work", "next")
	next := receiveOne(t, q, "work", "next", 1) // no earlier receipt has hit it
	noError(t, q.Delete(t.Context(), "work", next.Receipt))
}

func queueDeadLetter(t *testing.T, q QueueStore) {
	sendText(t, q, "work", "poison")
	for i := range platform.MaxReceives {
		receiveOne(t, q, "work", "poison", i+1)
		sendText(t, q, "work", "other")
		other := receiveOne(t, q, "work", "other", 1) // others proceed
		noError(t, q.Delete(t.Context(), "work", other.Receipt))
		q.Elapse(visibility + time.Second)
	}
	receiveNone(t, q, "work")
	for i := range platform.MaxReceives + 2 { // dead letters have none of their own
		receiveOne(t, q, platform.DeadLetters("work"), "poison", i+1)
		q.Elapse(visibility + time.Second)
	}
	dead := receive(t, q, platform.DeadLetters("work"), 1)[0]
	noError(t, q.Delete(t.Context(), platform.DeadLetters("work"), dead.Receipt))
	q.Elapse(visibility + time.Second)
	receiveNone(t, q, platform.DeadLetters("work"))
	receiveNone(t, q, "work")
}

func queueVisibilityChange(t *testing.T, q QueueStore) {
	sendText(t, q, "work", "long")
	m := receiveOne(t, q, "work", "long", 1)
	for range 3 {
		q.Elapse(visibility - time.Second)
		noError(t, q.Extend(t.Context(), "work", m.Receipt, visibility))
	}
	q.Elapse(visibility - time.Second)
	receiveNone(t, q, "work")
	noError(t, q.Extend(t.Context(), "work", m.Receipt, 0)) // visible at once
	again := receiveOne(t, q, "work", "long", 2)
	isError(t, q.Extend(t.Context(), "work", m.Receipt, visibility), platform.ErrGone)
	isError(t, q.Extend(t.Context(), "work", again.Receipt, platform.MaxVisibility+time.Second), platform.ErrInvalid)
	isError(t, q.Extend(t.Context(), "work", again.Receipt, -time.Second), platform.ErrInvalid)
	isError(t, q.Extend(t.Context(), "work", "nonsense", visibility), platform.ErrGone)
	noError(t, q.Delete(t.Context(), "work", again.Receipt))
	isError(t, q.Extend(t.Context(), "work", again.Receipt, visibility), platform.ErrGone)
}

func queueDelay(t *testing.T, q QueueStore) {
	noError(t, q.Send(t.Context(), "work", []byte("later"), 10*time.Second))
	receiveNone(t, q, "work")
	q.Elapse(9 * time.Second)
	receiveNone(t, q, "work")
	q.Elapse(time.Second)
	receiveOne(t, q, "work", "later", 1)
	noError(t, q.Send(t.Context(), "work", []byte("latest"), platform.MaxDelay))
	isError(t, q.Send(t.Context(), "work", []byte("x"), platform.MaxDelay+time.Second), platform.ErrInvalid)
	isError(t, q.Send(t.Context(), "work", []byte("x"), -time.Second), platform.ErrInvalid)
}

func queuePayloadGuard(t *testing.T, q QueueStore) {
	largest := strings.Repeat("x", platform.MaxMessage)
	isError(t, q.Send(t.Context(), "work", []byte(largest+"x"), 0), platform.ErrTooLarge)
	isError(t, q.Send(t.Context(), "work", nil, 0), platform.ErrInvalid)
	receiveNone(t, q, "work")
	for _, body := range []string{largest, "\x00\x01\x0b\x1f\x7f\r\n\t", "\xff\xfe", "é\U0001f600"} {
		sendText(t, q, "odd", body)
		m := receiveOne(t, q, "odd", body, 1)
		noError(t, q.Delete(t.Context(), "odd", m.Receipt))
	}
	body := []byte("kept")
	noError(t, q.Send(t.Context(), "work", body, 0))
	copy(body, "lost")
	receiveOne(t, q, "work", "kept", 1)
}

func queueBounds(t *testing.T, q QueueStore) {
	for _, name := range []string{"", "a b", "a/b", "é", strings.Repeat("q", 81)} {
		isError(t, q.Send(t.Context(), name, []byte("x"), 0), platform.ErrInvalid)
		_, err := q.Receive(t.Context(), name, 1, 0, visibility)
		isError(t, err, platform.ErrInvalid)
	}
	for _, tt := range []struct {
		limit            int
		wait, visibility time.Duration
	}{
		{0, 0, visibility},
		{1, -1, visibility},
		{1, 0, -1},
		{1, 0, platform.MaxVisibility + 1},
	} {
		_, err := q.Receive(t.Context(), "work", tt.limit, tt.wait, tt.visibility)
		isError(t, err, platform.ErrInvalid)
	}
}

func queueLongPoll(t *testing.T, q QueueStore) {
	type answer struct {
		messages []platform.Message
		err      error
	}
	poll := func(ctx context.Context, wait time.Duration) chan answer {
		answers := make(chan answer, 1)
		go func() {
			messages, err := q.Receive(ctx, "work", 1, wait, visibility)
			answers <- answer{messages, err}
		}()
		return answers
	}
	answered := func(answers chan answer) (a answer) {
		t.Helper()
		eventually(t, "the answer of a long poll", q.Elapse, time.Second, func() bool {
			select {
			case a = <-answers:
				return true
			case <-time.After(time.Millisecond):
				return false
			}
		})
		return a
	}
	if a := answered(poll(t.Context(), 3*time.Second)); a.err != nil || len(a.messages) != 0 {
		t.Errorf("an empty queue answers %v, %v; none is no error", a.messages, a.err)
	}
	waiting := poll(t.Context(), 20*time.Second)
	sendText(t, q, "work", "wakes")
	select { // by the message, not by the clock
	case a := <-waiting:
		noError(t, a.err)
		equal(t, "messages", len(a.messages), 1)
		noError(t, q.Delete(t.Context(), "work", a.messages[0].Receipt))
	case <-within(t).Done():
		t.Fatal("a message did not wake the one who waits for it")
	}
	noError(t, q.Send(t.Context(), "work", []byte("later"), 5*time.Second))
	if a := answered(poll(t.Context(), 20*time.Second)); a.err != nil || len(a.messages) != 1 {
		t.Errorf("a delayed message woke with %v, %v", a.messages, a.err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := poll(ctx, 20*time.Second)
	cancel()
	isError(t, answered(ended).err, context.Canceled)
}

func queueApart(t *testing.T, q QueueStore) {
	sendText(t, q, "one", "for one")
	sendText(t, q, "two", "for two")
	one := receiveOne(t, q, "one", "for one", 1)
	noError(t, q.Delete(t.Context(), "two", one.Receipt)) // of another queue: nothing there
	two := receiveOne(t, q, "two", "for two", 1)
	isError(t, q.Extend(t.Context(), "one", two.Receipt, visibility), platform.ErrGone)
	q.Elapse(visibility + time.Second)
	receiveOne(t, q, "one", "for one", 2)
}

func queueManyConsumers(t *testing.T, q QueueStore) {
	const senders, each = 4, 25
	got := make(chan string, 2*senders*each)
	errs := race(2*senders, func(i int) error {
		if i < senders {
			for n := range each {
				if err := q.Send(t.Context(), "work", fmt.Appendf(nil, "%d-%d", i, n), 0); err != nil {
					return err
				}
			}
			return nil
		}
		ctx := within(t)
		for len(got) < senders*each {
			messages, err := q.Receive(ctx, "work", 3, 0, visibility)
			if err != nil {
				return err
			}
			for _, m := range messages {
				got <- string(m.Body)
				if err := q.Delete(ctx, "work", m.Receipt); err != nil {
					return err
				}
			}
		}
		return nil
	})
	for _, err := range errs {
		noError(t, err)
	}
	close(got)
	seen := map[string]int{}
	for body := range got {
		seen[body]++
	}
	equal(t, "different messages", len(seen), senders*each)
}
