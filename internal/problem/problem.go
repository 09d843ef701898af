// Package problem turns errors into answers, in one place: RFC 9457 problem
// documents with a stable type, what was wrong, where, and a request id. It is a
// leaf that every other package may import, and the only one that chooses an HTTP
// status for an error.
package problem

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"
)

// Kind is one row of the taxonomy. Type is stable: clients switch on it.
type Kind struct {
	Type, Title string
	Status      int
}

// The kinds. A type is a kebab-case word and never changes its meaning.
var (
	Invalid      = Kind{"invalid-input", "The input is not valid", http.StatusBadRequest}
	Unauthorized = Kind{"unauthorized", "Who are you?", http.StatusUnauthorized}
	Forbidden    = Kind{"forbidden", "You may not do this", http.StatusForbidden}
	NotFound     = Kind{"not-found", "There is no such thing, or you may not see it", http.StatusNotFound}
	NoMethod     = Kind{"method-not-allowed", "This address does not take that method", http.StatusMethodNotAllowed}
	Conflict     = Kind{"wrong-status", "Its status does not allow this", http.StatusConflict}
	Exists       = Kind{"exists", "It exists already", http.StatusConflict}
	Expired      = Kind{"expired", "It was deleted when its time was over", http.StatusGone}
	TooLarge     = Kind{"too-large", "The input is too large", http.StatusRequestEntityTooLarge}
	MediaType    = Kind{"unsupported-media-type", "The body must be JSON", http.StatusUnsupportedMediaType}
	BadConfig    = Kind{"config-invalid", "The pipeline file is not valid", http.StatusUnprocessableEntity}
	NotAvailable = Kind{"not-available", "This is part of the language but not built yet", http.StatusUnprocessableEntity}
	Mismatch     = Kind{"idempotency-mismatch", "This idempotency key was used for another request", http.StatusUnprocessableEntity}
	TooMany      = Kind{"too-many-requests", "Too many requests", http.StatusTooManyRequests}
	Upstream     = Kind{"upstream-failed", "A server that we asked did not answer as it should", http.StatusBadGateway}
	Unavailable  = Kind{"unavailable", "Not now, try again", http.StatusServiceUnavailable}

	internal = Kind{"internal", "Something broke on our side", http.StatusInternalServerError}
)

// Place is where in the person's own input something is wrong.
type Place struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`   // from 1
	Column int    `json:"column,omitempty"` // from 1, in code points
	Field  string `json:"field,omitempty"`
	Code   string `json:"code,omitempty"`
	Detail string `json:"detail,omitempty"`
	Help   string `json:"help,omitempty"`
}

// Error says what is wrong in words for the person who can put it right.
type Error struct {
	Kind       Kind
	Detail     string        // what is wrong, and which value would be right
	At         []Place       // file, line and field, in the person's own input
	RetryAfter time.Duration // for TooMany and Unavailable
	Err        error         // the cause, for the log alone
}

// New makes an Error of a kind, with its words formatted.
func New(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Detail: fmt.Sprintf(format, args...)}
}

// InField says which field of the input is wrong, and returns e.
func (e *Error) InField(field string) *Error {
	e.At = append(e.At, Place{Field: field, Detail: e.Detail})
	return e
}

func (e *Error) Error() string { return e.Detail }
func (e *Error) Unwrap() error { return e.Err }

// Is tells whether err is a problem of that kind.
func Is(err error, kind Kind) bool {
	var p *Error
	return errors.As(err, &p) && p.Kind == kind
}

// Document is a problem as it travels.
type Document struct {
	Type    string  `json:"type"`
	Title   string  `json:"title"`
	Status  int     `json:"status"`
	Detail  string  `json:"detail,omitempty"`
	At      []Place `json:"at,omitempty"`
	Request string  `json:"request,omitempty"`
}

// TypeURI is a kind's stable identity, which is also a page of the manual.
func (k Kind) TypeURI() string { return "/problems/" + k.Type }

// Write answers r with err. What is no *Error is "internal": the person gets
// the request id, the log gets the cause. No handler chooses a status code.
func Write(w http.ResponseWriter, r *http.Request, log *slog.Logger, err error) {
	id := w.Header().Get("X-Request-Id") // access.Mux sets it on every answer
	doc := Describe(err, id)
	var p *Error
	if !errors.As(err, &p) {
		log.ErrorContext(r.Context(), "internal error", "request", id, "err", err)
	} else if p.Err != nil {
		log.InfoContext(r.Context(), "refused", "request", id, "type", p.Kind.Type, "err", p.Err)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	if p != nil && p.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((p.RetryAfter+time.Second-1)/time.Second)))
	}
	w.WriteHeader(doc.Status)
	if err := json.NewEncoder(w).Encode(doc); err != nil {
		log.Info("answer not written", "request", id, "err", err) // the caller hung up
	}
}

// Describe is err as it travels, for where it is no answer of its own: in a frame
// of a stream. request is the id of the request that led to it.
func Describe(err error, request string) Document {
	var p *Error
	if !errors.As(err, &p) {
		p = &Error{Kind: internal, Detail: "Quote request " + request + " when you ask for help."}
	}
	return Document{p.Kind.TypeURI(), p.Kind.Title, p.Kind.Status, p.Detail, p.At, request}
}
