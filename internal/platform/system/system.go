// Package system is the machine's own clock and its own randomness: the clock and
// id ports of every home that runs outside a simulation.
package system

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"time"
)

// Clock is the machine's time. Its zero value is ready.
type Clock struct{}

// Now is the machine's time, with its monotonic reading.
func (Clock) Now() time.Time { return time.Now() }

// Sleep waits for d, or until ctx ends, whose error it returns.
func (Clock) Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// AfterFunc calls f in its own goroutine after d.
func (Clock) AfterFunc(d time.Duration, f func()) (stop func() bool) {
	return time.AfterFunc(d, f).Stop
}

// IDs makes names from the machine's randomness. Its zero value is ready.
type IDs struct{}

var lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// New is a name of 26 characters that stands for 128 random bits.
func (IDs) New() string {
	var bits [16]byte
	rand.Read(bits[:]) // never fails: crypto/rand ends the program instead
	return lower.EncodeToString(bits[:])
}
