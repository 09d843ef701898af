package asl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"slices"
	"strconv"
)

// A value is JSON as Go holds it: nil, bool, json.Number, string, []any or
// map[string]any. Values are never changed once made; whoever wants another one
// copies the level that differs. So branches and retries may share them.

// Decode reads one JSON text and nothing after it. Numbers keep their digits.
func Decode(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more after the JSON value")
	}
	return v, nil
}

// Encode writes a value as JSON, keys sorted, without escaping for HTML.
func Encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode a value: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// text is a value as JSON text. Values come from Decode, which leaves nothing in
// them that cannot be written again.
func text(v any) string {
	b, err := Encode(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// size is about the length of v as JSON, in bytes, counted up to limit: what is
// within the limit is never said to be above it.
func size(v any, limit int) int {
	switch v := v.(type) {
	case nil, bool:
		return 4
	case json.Number:
		return len(v)
	case string:
		return len(v) + 2
	case []any:
		n := 2
		for _, e := range v {
			if n += size(e, limit-n) + 1; n > limit {
				return n
			}
		}
		return max(n-1, 2)
	case map[string]any:
		n := 2
		for k, e := range v {
			if n += len(k) + 4 + size(e, limit-n); n > limit {
				return n
			}
		}
		return max(n-1, 2)
	}
	return 0
}

// equal compares two values; numbers by value.
func equal(a, b any) bool {
	switch a := a.(type) {
	case json.Number:
		b, ok := b.(json.Number)
		return ok && compareNumbers(a, b) == 0
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, equal)
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, equal)
	}
	switch b.(type) {
	case []any, map[string]any:
		return false
	}
	return a == b
}

// compareNumbers is exact for whatever fits a float or is written with digits
// that a float would lose.
func compareNumbers(a, b json.Number) int {
	if a == b {
		return 0
	}
	x, errX := strconv.ParseInt(string(a), 10, 64)
	y, errY := strconv.ParseInt(string(b), 10, 64)
	if errX == nil && errY == nil {
		return compare(x, y)
	}
	f, errF := a.Float64()
	g, errG := b.Float64()
	if f != g || errF != nil || errG != nil {
		return compare(f, g) // too large for a float is infinite: nobody needs its digits
	}
	exactF, _, errF := big.ParseFloat(string(a), 10, numberBits, big.ToNearestEven)
	exactG, _, errG := big.ParseFloat(string(b), 10, numberBits, big.ToNearestEven)
	if errF != nil || errG != nil {
		return 0
	}
	return exactF.Cmp(exactG)
}

const numberBits = 128 // mantissa of an exact comparison: 38 digits

func compare[T int64 | float64 | string](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// float is a number as a float, 0 if it is too large for one.
func float(n json.Number) float64 {
	f, err := n.Float64()
	if err != nil {
		return 0
	}
	return f
}

// whole is a number as an integer; 2.0 is one, 2.5 is none.
func whole(v any) (int64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	if i, err := n.Int64(); err == nil {
		return i, true
	}
	f, err := n.Float64()
	if err != nil || f != float64(int64(f)) {
		return 0, false
	}
	return int64(f), true
}

func number[T int | int64](n T) json.Number { return json.Number(strconv.FormatInt(int64(n), 10)) }
