package platform

import (
	"errors"
	"fmt"
	"strings"
)

// The errors of every port. A driver wraps one of them, with what happened, or
// returns an error of its own for what no caller can act on.
var (
	ErrConditionFailed = errors.New("condition failed")  // the row was not as the condition says; never retried by a driver
	ErrConflict        = errors.New("conflict")          // another write was under way; the driver has retried
	ErrThrottled       = errors.New("throttled")         // come again later; the driver has retried
	ErrTooLarge        = errors.New("too large")         // a limit of size or number
	ErrNotFound        = errors.New("not found")         // no such row, object, execution, task
	ErrExists          = errors.New("exists already")    // create-once lost, or a name is taken
	ErrChanged         = errors.New("changed meanwhile") // compare-and-swap lost: read again, decide anew
	ErrGone            = errors.New("gone")              // settled token, closed connection, aborted upload
	ErrDenied          = errors.New("denied")            // wrong key context, wrong signature, expired grant
	ErrInvalid         = errors.New("invalid")           // the call itself is wrong; it was never sent
)

// Reason is what became of one action of a write: Err is nil for an action that
// was not at fault, and wraps ErrConditionFailed or ErrConflict for one that was.
// Row is the row as it stood (nil if there was none), read in the same instant.
type Reason struct {
	Err error
	Row Item
}

// WriteError is a write that was refused. Reason i belongs to action i; a single
// write has one reason. errors.Is finds the errors of its reasons.
//
// Source: DynamoDB TransactionCanceledException, ReturnValuesOnConditionCheckFailure.
type WriteError struct {
	Reasons []Reason
}

func (e *WriteError) Error() string {
	var parts []string
	for i, r := range e.Reasons {
		if r.Err != nil {
			parts = append(parts, fmt.Sprintf("action %d: %v", i, r.Err))
		}
	}
	return "write refused: " + strings.Join(parts, "; ")
}

// Unwrap lets errors.Is and errors.As look into every reason.
func (e *WriteError) Unwrap() []error {
	var errs []error
	for _, r := range e.Reasons {
		if r.Err != nil {
			errs = append(errs, r.Err)
		}
	}
	return errs
}

// OldRow returns the row that failed the condition of action i of err, or nil.
func OldRow(err error, i int) Item {
	var refused *WriteError
	if !errors.As(err, &refused) || i >= len(refused.Reasons) {
		return nil
	}
	return refused.Reasons[i].Row
}

// FailedAt says whether action i of a refused write failed its condition.
func FailedAt(err error, i int) bool {
	var refused *WriteError
	return errors.As(err, &refused) && i < len(refused.Reasons) &&
		errors.Is(refused.Reasons[i].Err, ErrConditionFailed)
}
