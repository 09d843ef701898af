package platform

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Limits of every queue.
const (
	MaxMessage    = 32 << 10         // bytes of a body: references travel, not contents
	MaxDelay      = 15 * time.Minute // of Send
	MaxVisibility = 12 * time.Hour   // in total
	MaxReceives   = 5                // then the message goes to the dead letters
)

// Message is one delivery of a message. Receipt belongs to this delivery alone.
type Message struct {
	ID       string
	Body     []byte
	Receipt  string
	Receives int // 1 for the first delivery
	Sent     time.Time
}

// Queues brings messages at least once and in no order, as SQS does. A queue is
// made by its first use; its name has 1 to 75 characters of [A-Za-z0-9_-]
// (ErrInvalid). Its dead letters are the queue DeadLetters(name), which has none of
// its own: what lies there is received as often as one likes.
//
// Source: Amazon SQS Developer Guide (visibility timeout, dead-letter queues).
type Queues interface {
	// Send stores a message, of at least one byte, that becomes visible
	// after delay. ErrTooLarge, ErrInvalid for a delay above MaxDelay.
	Send(ctx context.Context, queue string, body []byte, delay time.Duration) error

	// Receive waits up to wait for at least one message and returns up to max of
	// them, each hidden from others for visibility. None is no error.
	Receive(ctx context.Context, queue string, max int, wait, visibility time.Duration) ([]Message, error)

	// Delete ends deliveries. A receipt of an earlier delivery is no error and
	// may or may not delete.
	Delete(ctx context.Context, queue string, receipts ...string) error

	// Extend hides a delivered message for another d from now; 0 makes it visible
	// at once. ErrGone if the delivery is over, ErrInvalid if it would be hidden for
	// more than MaxVisibility in total.
	Extend(ctx context.Context, queue string, receipt string, d time.Duration) error
}

const deadLetters = "-dead"

// DeadLetters names the queue of what was received MaxReceives times and not deleted.
func DeadLetters(queue string) string { return queue + deadLetters }

// IsDeadLetters tells whether a queue is another one's dead letters.
func IsDeadLetters(queue string) bool { return strings.HasSuffix(queue, deadLetters) }

// isName tells whether a name has 1 to longest characters: letters, digits and those
// of marks. A regular expression would have to be compiled by every program that
// links this package, also by those that live for milliseconds.
func isName(name, marks string, longest int) bool {
	if name == "" || len(name) > longest {
		return false
	}
	for _, c := range []byte(name) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && strings.IndexByte(marks, c) < 0 {
			return false
		}
	}
	return true
}

const longestQueueName = 80 // with the suffix of dead letters

// CheckSend is for drivers: it refuses what no home sends.
func CheckSend(queue string, body []byte, delay time.Duration) error {
	switch {
	case !isName(queue, "_-", longestQueueName):
		return fmt.Errorf("queue name %q: 1 to 75 characters of A-Z, a-z, 0-9, _ and -: %w", queue, ErrInvalid)
	case len(body) == 0:
		return fmt.Errorf("send to %s: a message has at least one byte: %w", queue, ErrInvalid)
	case len(body) > MaxMessage:
		return fmt.Errorf("send to %s: %d bytes, at most %d, send a reference: %w", queue, len(body), MaxMessage, ErrTooLarge)
	case delay < 0 || delay > MaxDelay:
		return fmt.Errorf("send to %s: a delay of %s, at most %s, set a timer: %w", queue, delay, MaxDelay, ErrInvalid)
	}
	return nil
}

// CheckReceive is for drivers, as CheckSend.
func CheckReceive(queue string, limit int, wait, visibility time.Duration) error {
	switch {
	case !isName(queue, "_-", longestQueueName):
		return fmt.Errorf("queue name %q: 1 to 75 characters of A-Z, a-z, 0-9, _ and -: %w", queue, ErrInvalid)
	case limit < 1 || wait < 0:
		return fmt.Errorf("receive from %s: at most %d messages within %s: %w", queue, limit, wait, ErrInvalid)
	case visibility < 0 || visibility > MaxVisibility:
		return fmt.Errorf("receive from %s: hidden for %s, at most %s: %w", queue, visibility, MaxVisibility, ErrInvalid)
	}
	return nil
}

// CheckExtend is for drivers, as CheckSend. hidden is for how long the message has
// been hidden by this delivery.
func CheckExtend(hidden, d time.Duration) error {
	if d < 0 || hidden+d > MaxVisibility {
		return fmt.Errorf("hide a message for %s after %s, at most %s in total: %w", d, hidden, MaxVisibility, ErrInvalid)
	}
	return nil
}
