package platform

import "context"

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
	// Send writes one text message, or fails with ErrGone if the connection is closed.
	Send(ctx context.Context, connection string, message []byte) error
	// Close ends a connection with a WebSocket close code; a closed one is no error.
	Close(ctx context.Context, connection string, code int, reason string) error
}
