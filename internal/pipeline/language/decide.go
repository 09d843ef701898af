package language

import "slices"

// Truth is a value of the three-valued logic of conditions.
type Truth int8

// The three values.
const (
	False Truth = iota
	True
	Unknown
)

func (t Truth) String() string { return [...]string{"false", "true", "unknown"}[t] }

// and is Kleene's: false decides whatever the other is.
func (t Truth) and(other Truth) Truth {
	switch {
	case t == False || other == False:
		return False
	case t == True && other == True:
		return True
	}
	return Unknown
}

func (t Truth) or(other Truth) Truth { return t.not().and(other.not()).not() }

func (t Truth) not() Truth {
	switch t {
	case False:
		return True
	case True:
		return False
	}
	return Unknown
}

func truth(b bool) Truth {
	if b {
		return True
	}
	return False
}

// Decide evaluates the alternatives of a stage's `when`. None is True. The error
// is that of an expression which only its values could show to be wrong.
func Decide(when []When, facts Facts) (Truth, error) {
	if len(when) == 0 {
		return True, nil
	}
	result := False
	for _, w := range when {
		one, err := w.decide(facts)
		if err != nil {
			return Unknown, err
		}
		result = result.or(one)
	}
	return result, nil
}

// decide is the conjunction of the conditions of one node. `status` is none of
// them: it says how needs are read, and Load has put it there.
func (w When) decide(facts Facts) (Truth, error) {
	named := truth(
		(len(w.Branch) == 0 || facts.Branch != "" && matchPatterns(w.Branch, facts.Branch)) &&
			(len(w.Tag) == 0 || facts.Tag != "" && matchPatterns(w.Tag, facts.Tag)) &&
			(len(w.Event) == 0 || slices.Contains(w.Event, facts.Event)) &&
			(len(w.Base) == 0 || facts.Base != "" && matchPatterns(w.Base, facts.Base)) &&
			(len(w.Path) == 0 || !facts.FilesKnown || matchFiles(w.Path, facts.Changed)))
	if w.Expression == "" || named == False {
		return named, nil
	}
	expr := w.expr
	if expr == nil { // the stage comes from JSON
		var err error
		if expr, err = parseExpression(w.Expression); err != nil {
			return Unknown, err
		}
	}
	value, err := expr.root.evaluate(&facts)
	if err != nil {
		return Unknown, err
	}
	return named.and(value.truth()), nil
}
