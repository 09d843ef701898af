package platform

import (
	"context"
	"fmt"
	"unicode/utf8"
)

// Limits of a push.
const (
	MaxInline = 24 << 10  // bytes that travel in a message; what is larger is sent as a reference
	MaxPush   = 128 << 10 // bytes of a message, at most (ErrTooLarge)
)

// Push writes to an open WebSocket connection, as @connections of API Gateway
// does. Messages of one caller to one connection arrive in order.
//
// Source: API Gateway Developer Guide, @connections.
type Push interface {
	// Send writes one text message, which is UTF-8 (ErrInvalid), or fails with ErrGone
	// if the connection is closed.
	Send(ctx context.Context, connection string, message []byte) error
	// Close ends a connection with a WebSocket close code; a closed one is no error.
	Close(ctx context.Context, connection string, code int, reason string) error
}

// CheckPush is for drivers: it refuses what no home pushes.
func CheckPush(message []byte) error {
	if len(message) > MaxPush {
		return fmt.Errorf("push %d bytes, at most %d: %w", len(message), MaxPush, ErrTooLarge)
	}
	if !utf8.Valid(message) {
		return fmt.Errorf("push bytes that are no UTF-8: %w", ErrInvalid)
	}
	return nil
}
