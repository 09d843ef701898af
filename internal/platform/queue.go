package platform

import (
	"context"
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
// made by its first use; its dead letters are the queue DeadLetters(name).
//
// Source: Amazon SQS Developer Guide (visibility timeout, dead-letter queues).
type Queues interface {
	// Send stores a message that becomes visible after delay. ErrTooLarge,
	// ErrInvalid for a delay above MaxDelay.
	Send(ctx context.Context, queue string, body []byte, delay time.Duration) error

	// Receive waits up to wait for at least one message and returns up to max of
	// them, each hidden from others for visibility. None is no error.
	Receive(ctx context.Context, queue string, max int, wait, visibility time.Duration) ([]Message, error)

	// Delete ends deliveries. A receipt of an earlier delivery is no error and
	// may or may not delete.
	Delete(ctx context.Context, queue string, receipts ...string) error

	// Extend hides a delivered message for another d from now; 0 makes it visible
	// at once. ErrGone if the delivery is over.
	Extend(ctx context.Context, queue string, receipt string, d time.Duration) error
}

// DeadLetters names the queue of what was received MaxReceives times and not deleted.
func DeadLetters(queue string) string { return queue + "-dead" }
