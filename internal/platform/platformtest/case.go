package platformtest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"
)

// Case is one promise of a port. Its name is that of the table in the reference of
// conformance cases, or says the promise in words.
type Case[Home any] struct {
	Name string
	Run  func(*testing.T, Home)
}

// run checks every promise on a home of its own.
func run[Home any](t *testing.T, open func(*testing.T) Home, cases []Case[Home]) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			c.Run(t, open(t))
		})
	}
}

// race calls f n times at once and returns what each call answered.
func race(n int, f func(i int) error) []error {
	errs := make([]error, n)
	var start, end sync.WaitGroup
	start.Add(1)
	for i := range n {
		end.Go(func() {
			start.Wait()
			errs[i] = f(i)
		})
	}
	start.Done()
	end.Wait()
	return errs
}

// oneWins checks that one call succeeded and that each other one was told why not.
func oneWins(t *testing.T, errs []error, lost error) {
	t.Helper()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, lost) {
			t.Errorf("a loser was told %v, want %v", err, lost)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d won, want 1", won, len(errs))
	}
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func isError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("err = %v, want %v", err, want)
	}
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

func equalList[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

// within is a context that ends when a test has waited long enough.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually has time pass in steps until done, and leaves the machine some time of
// its own between them: a clock that is driven by hand waits for nobody.
func eventually(t *testing.T, what string, elapse func(time.Duration), step time.Duration, done func() bool) {
	t.Helper()
	ctx := within(t)
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	for !done() {
		elapse(step)
		select {
		case <-pace.C:
		case <-ctx.Done():
			t.Fatalf("%s: not after %s", what, patience)
		}
	}
}

// noElapse is for what happens without time passing.
func noElapse(time.Duration) {}
