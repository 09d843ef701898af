package access

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

// Limits of lists.
const (
	DefaultLimit = 50
	MaxLimit     = 200
	maxCursor    = 4 << 10 // bytes of a cursor
)

// Page is one answer of a list. Next asks for the page after it, as ?cursor=; it
// is absent on the last page.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
}

// NewPage makes a page of items and the cursor of the table's query.
func NewPage[T any](items []T, cursor string) Page[T] {
	if items == nil {
		items = []T{} // a list is never null
	}
	return Page[T]{items, base64.RawURLEncoding.EncodeToString([]byte(cursor))}
}

// Window is which part of a list is asked for.
type Window struct {
	Limit  int
	Cursor string // of the table's query
}

// WindowQuery describes the parameters that ParseWindow reads, for Route.Query.
func WindowQuery(more map[string]string) map[string]string {
	query := map[string]string{
		"limit":  fmt.Sprintf("How many items, 1 to %d; %d if absent.", MaxLimit, DefaultLimit),
		"cursor": "`next` of the page before.",
	}
	for name, sentence := range more {
		query[name] = sentence
	}
	return query
}

// ParseWindow reads ?limit= and ?cursor=.
func ParseWindow(r *http.Request) (Window, error) {
	query := r.URL.Query()
	w := Window{Limit: DefaultLimit}
	if text := query.Get("limit"); text != "" {
		limit, err := strconv.Atoi(text)
		if err != nil || limit < 1 || limit > MaxLimit {
			return Window{}, problem.New(problem.Invalid, "limit must be a number from 1 to %d.", MaxLimit).InField("limit")
		}
		w.Limit = limit
	}
	text := query.Get("cursor")
	cursor, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(text) > maxCursor {
		return Window{}, badCursor(err)
	}
	w.Cursor = string(cursor)
	return w, nil
}

// Error says of the error of the window's query whether the cursor was at fault.
func (w Window) Error(err error) error {
	if w.Cursor != "" && errors.Is(err, platform.ErrInvalid) {
		return badCursor(err)
	}
	return err
}

func badCursor(err error) error {
	bad := problem.New(problem.Invalid, "The cursor is not one of this list. Begin again without it.").InField("cursor")
	bad.Err = err
	return bad
}
