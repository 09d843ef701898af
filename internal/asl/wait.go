package asl

import (
	"encoding/json"
	"strconv"
	"time"
)

// wait pauses for a number of seconds or until a point in time.
//
// Source: the specification, "Wait State".
type wait struct {
	seconds int64
	until   time.Time
	path    expression // of seconds or a timestamp
	source  string
	stamped bool // the path is that of a timestamp
}

func readWait(p *parser, o map[string]any, s *state) work {
	fields := []string{"Seconds", "SecondsPath", "Timestamp", "TimestampPath"}
	there := 0
	for _, f := range fields {
		if _, ok := o[f]; ok {
			there++
		}
	}
	if there != 1 {
		p.schema(s.place, "A Wait state has exactly one of %v", fields)
	}
	w := &wait{}
	w.seconds, _ = p.whole(o, "Seconds", s.place)
	if _, ok := o["Timestamp"]; ok {
		at, err := timestamp(p.text(o, "Timestamp", s.place))
		if err != nil {
			p.schema(s.place+"/Timestamp", "String does not match RFC3339 timestamp")
		}
		w.until = at
	}
	for _, field := range []string{"SecondsPath", "TimestampPath"} {
		if e := p.lookup(o, field, s.place); e != nil {
			w.path, w.source, w.stamped = e, p.text(o, field, s.place), field == "TimestampPath"
		}
	}
	return w
}

// timestamp reads RFC 3339 with an upper-case T, and Z or an offset.
func timestamp(text string) (time.Time, error) { return time.Parse(time.RFC3339Nano, text) }

func (w *wait) begin(r *Run, t *Thread, s *state) {
	in, err := r.input(t, s)
	if err == nil {
		var until time.Time
		if until, err = w.end(r, t, in); err == nil {
			t.Phase, t.Wake = Waiting, until
			if !r.now.Before(until) {
				t.Wake = time.Time{}
				r.succeed(t, s, in, nil)
			}
			return
		}
	}
	r.fail(t, s, t.problem(s, err))
}

func (w *wait) end(r *Run, t *Thread, in any) (time.Time, error) {
	switch {
	case w.path == nil && !w.until.IsZero():
		return w.until, nil
	case w.path == nil:
		return r.now.Round(0).Add(time.Duration(w.seconds) * time.Second), nil
	}
	v, err := w.path.eval(r.sight(t, in))
	if w.stamped {
		return w.stamp(v, err)
	}
	seconds, err := w.count(v, err)
	return r.now.Round(0).Add(time.Duration(seconds) * time.Second), err
}

func (w *wait) count(v any, err error) (int64, error) {
	if err != nil {
		return 0, saying("The SecondsPath parameter does not reference an input value: %s", w.source)
	}
	seconds, err := strconv.ParseInt(unquoted(v), 10, 64)
	switch {
	case err != nil:
		return 0, saying("The SecondsPath parameter cannot be parsed as a long value: %s == %s", w.source, text(v))
	case seconds < 0:
		return 0, saying("The SecondsPath parameter references a negative value: %s == %s", w.source, text(v))
	case seconds > maxSeconds:
		return 0, saying("The SecondsPath parameter references a value above %d: %s == %s", maxSeconds, w.source, text(v))
	}
	return seconds, nil
}

func (w *wait) stamp(v any, err error) (time.Time, error) {
	if err != nil {
		return time.Time{}, saying("The TimestampPath parameter does not reference an input value: %s", w.source)
	}
	at, err := timestamp(unquoted(v))
	if err != nil {
		return time.Time{}, saying(
			"The TimestampPath parameter does not reference a valid ISO-8601 extended offset date-time format string: %s == %s",
			w.source, unquoted(v))
	}
	return at, nil
}

// unquoted is a number or a string as text; the service reads both alike.
func unquoted(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return string(v)
	}
	return text(v)
}
