package asl

import "fmt"

// failing ends its branch with an error, whose name and cause are fixed or
// looked up; both may be left out.
//
// Source: the specification, "Fail State".
type failing struct {
	name, cause         string
	namePath, causePath expression
	nameText, causeText string
}

func readFail(p *parser, o map[string]any, s *state) work {
	p.one(o, s.place, "Error", "ErrorPath")
	p.one(o, s.place, "Cause", "CausePath")
	return &failing{
		name:      p.text(o, "Error", s.place),
		cause:     p.text(o, "Cause", s.place),
		namePath:  p.lookup(o, "ErrorPath", s.place),
		causePath: p.lookup(o, "CausePath", s.place),
		nameText:  p.text(o, "ErrorPath", s.place),
		causeText: p.text(o, "CausePath", s.place),
	}
}

func (f *failing) begin(r *Run, t *Thread, s *state) {
	name, cause, err := f.words(r, t, s)
	if err != nil {
		r.abandon(t, t.problem(s, err))
		return
	}
	r.abandon(t, failure{name: name, cause: cause})
}

func (f *failing) words(r *Run, t *Thread, s *state) (name, cause string, err error) {
	in, err := r.input(t, s)
	if err != nil {
		return "", "", err
	}
	name, cause = f.name, f.cause
	if f.namePath != nil {
		if name, err = word(f.namePath, r.sight(t, in), "ErrorPath", f.nameText); err != nil {
			return "", "", err
		}
	}
	if f.causePath != nil {
		if cause, err = word(f.causePath, r.sight(t, in), "CausePath", f.causeText); err != nil {
			return "", "", err
		}
	}
	return name, cause, nil
}

func word(e expression, s *sight, field, source string) (string, error) {
	v, err := e.eval(s)
	if err != nil {
		return "", forField(err, field)
	}
	w, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("the field %s refers to %s, which is no string: %s", field, text(v), source)
	}
	return w, nil
}
