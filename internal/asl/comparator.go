package asl

import (
	"encoding/json"
	"strings"
)

// comparator is one comparison operator of a Choice rule.
//
// Source: the specification, "Choice State", "Data-test expression".
type comparator struct {
	byPath  bool             // whether there is one whose name ends in Path
	takes   func(v any) bool // which literals it may be written with
	compare func(v, expected any) bool
}

var comparators = operators()

func operators() map[string]comparator {
	all := map[string]comparator{
		"BooleanEquals": {true, isBoolean, func(v, e any) bool { return isBoolean(v) && v == e }},
		"StringMatches": {false, isString, func(v, e any) bool { return isString(v) && matches(v.(string), e.(string)) }},
		"IsBoolean":     isOfType(isBoolean),
		"IsNull":        isOfType(func(v any) bool { return v == nil }),
		"IsNumeric":     isOfType(isNumeric),
		"IsString":      isOfType(isString),
		"IsTimestamp":   isOfType(isTimestamp),
	}
	orders := map[string]func(order int) bool{
		"Equals":            func(o int) bool { return o == 0 },
		"LessThan":          func(o int) bool { return o < 0 },
		"GreaterThan":       func(o int) bool { return o > 0 },
		"LessThanEquals":    func(o int) bool { return o <= 0 },
		"GreaterThanEquals": func(o int) bool { return o >= 0 },
	}
	for name, fits := range orders {
		all["String"+name] = comparator{true, isString, ordered(isString, fits, orderOf)}
		all["Numeric"+name] = comparator{true, isNumeric, ordered(isNumeric, fits, orderOf)}
		all["Timestamp"+name] = comparator{true, isTimestamp, ordered(isTimestamp, fits, orderOfTimes)}
	}
	return all
}

// ordered compares two values of one type; values of any other never match.
func ordered(is func(any) bool, fits func(int) bool, order func(a, b any) (int, bool)) func(v, expected any) bool {
	return func(v, expected any) bool {
		if !is(v) || !is(expected) {
			return false
		}
		o, ok := order(v, expected)
		return ok && fits(o)
	}
}

func isOfType(is func(any) bool) comparator {
	return comparator{false, isBoolean, func(v, expected any) bool { return is(v) == (expected == true) }}
}

func isBoolean(v any) bool { _, ok := v.(bool); return ok }
func isString(v any) bool  { _, ok := v.(string); return ok }
func isNumeric(v any) bool { _, ok := v.(json.Number); return ok }

func isTimestamp(v any) bool {
	s, ok := v.(string)
	if !ok {
		return false
	}
	_, err := timestamp(s)
	return err == nil
}

func orderOfTimes(a, b any) (int, bool) {
	x, errX := timestamp(a.(string))
	y, errY := timestamp(b.(string))
	return x.Compare(y), errX == nil && errY == nil
}

// matches compares with a pattern, in which * stands for any text and \* for a *.
func matches(text, pattern string) bool {
	pieces := []string{""}
	for i := 0; i < len(pattern); i++ {
		last := len(pieces) - 1
		switch c := pattern[i]; {
		case c == '\\' && i+1 < len(pattern) && strings.IndexByte(`*\`, pattern[i+1]) >= 0:
			i++
			pieces[last] += pattern[i : i+1]
		case c == '*':
			pieces = append(pieces, "")
		default:
			pieces[last] += pattern[i : i+1]
		}
	}
	if len(pieces) == 1 {
		return text == pieces[0]
	}
	first, last := pieces[0], pieces[len(pieces)-1]
	if len(text) < len(first)+len(last) || !strings.HasPrefix(text, first) || !strings.HasSuffix(text, last) {
		return false
	}
	text = text[len(first) : len(text)-len(last)]
	for _, piece := range pieces[1 : len(pieces)-1] {
		at := strings.Index(text, piece)
		if at < 0 {
			return false
		}
		text = text[at+len(piece):]
	}
	return true
}
