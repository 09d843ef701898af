package language

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// result is what an operation evaluates to. text carries strings, ints and bools
// as they would be written: a parameter reaches us as text, and the operation that
// uses it says what it is (Load has checked that they agree).
type result struct {
	unknown bool
	text    string
	list    []string
	isList  bool
}

var unknownResult = result{unknown: true}

func textResult(text string) result { return result{text: text} }

func truthResult(t Truth) result {
	if t == Unknown {
		return unknownResult
	}
	return result{text: t.String()}
}

func (r result) truth() Truth {
	if r.unknown {
		return Unknown
	}
	return truth(r.text == "true")
}

// evaluate computes the operation with what is known.
func (o *operation) evaluate(facts *Facts) (result, error) {
	switch o.op {
	case "||", "&&", "!":
		return o.logic(facts)
	case "string", "int", "bool":
		return textResult(o.text), nil
	case "name":
		return facts.name(o.text), nil
	case "list":
		return o.evaluateList(facts)
	case "call":
		return o.call(facts)
	}
	return o.compare(facts)
}

func (o *operation) logic(facts *Facts) (result, error) {
	if o.op == "!" {
		operand, err := o.args[0].evaluate(facts)
		return truthResult(operand.truth().not()), err
	}
	all := truth(o.op == "&&")
	for _, arg := range o.args {
		operand, err := arg.evaluate(facts)
		if err != nil {
			return unknownResult, err
		}
		if o.op == "&&" {
			all = all.and(operand.truth())
		} else {
			all = all.or(operand.truth())
		}
		if all == truth(o.op == "||") {
			break // decided, whatever follows
		}
	}
	return truthResult(all), nil
}

func (o *operation) evaluateList(facts *Facts) (result, error) {
	list := result{isList: true}
	for _, arg := range o.args {
		item, err := arg.evaluate(facts)
		if err != nil || item.unknown {
			return unknownResult, err
		}
		list.list = append(list.list, item.text)
	}
	return list, nil
}

func (o *operation) compare(facts *Facts) (result, error) {
	if facts.open && o.op != "==" && o.op != "!=" && o.op != "in" {
		return unknownResult, nil // no sample of a branch tells
	}
	left, err := o.args[0].evaluate(facts)
	if err != nil {
		return unknownResult, err
	}
	right, err := o.args[1].evaluate(facts)
	if err != nil || left.unknown || right.unknown {
		return unknownResult, err
	}
	switch o.op {
	case "==", "!=":
		same := left.text == right.text && slices.Equal(left.list, right.list)
		return truthResult(truth(same == (o.op == "=="))), nil
	case "in":
		return truthResult(truth(slices.Contains(right.list, left.text))), nil
	case "=~", "!~":
		re, err := compileRegexp(right.text)
		if err != nil {
			return unknownResult, err
		}
		return truthResult(truth(re.MatchString(left.text) == (o.op == "=~"))), nil
	}
	return o.order(left.text, right.text)
}

// order compares whole numbers. An output or a parameter may turn out to be none.
func (o *operation) order(left, right string) (result, error) {
	var numbers [2]int64
	for i, text := range []string{left, right} {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return unknownResult, fmt.Errorf("%q is not a whole number, so %s cannot compare it", text, o.op)
		}
		numbers[i] = n
	}
	a, b := numbers[0], numbers[1]
	return truthResult(truth(map[string]bool{"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[o.op])), nil
}

// compileRegexp reads the pattern of =~, of at most maxRegexp bytes.
func compileRegexp(pattern string) (*regexp.Regexp, error) {
	if len(pattern) > maxRegexp {
		return nil, fmt.Errorf("a pattern of =~ has at most %d bytes", maxRegexp)
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("the pattern of =~ cannot be read: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return re, nil
}

func (o *operation) call(facts *Facts) (result, error) {
	if facts.open {
		return unknownResult, nil
	}
	args := make([]result, len(o.args))
	for i, arg := range o.args {
		var err error
		if args[i], err = arg.evaluate(facts); err != nil {
			return unknownResult, err
		}
		if args[i].unknown {
			return unknownResult, nil
		}
	}
	f, ok := functions[o.text]
	if !ok || len(args) < f.min {
		return unknownResult, fmt.Errorf("there is no function %s of %d values", o.text, len(args))
	}
	return f.evaluate(facts, args), nil
}

// function is one of the functions of the language.
type function struct {
	min, max int // number of arguments
	params   []types
	returns  types
	evaluate func(facts *Facts, args []result) result
}

// count says how many arguments it takes.
func (f function) count() string {
	switch {
	case f.max > f.min:
		return fmt.Sprintf("at least %d", f.min)
	case f.min == 1:
		return "1 value"
	}
	return fmt.Sprintf("%d values", f.min)
}

// functions are all there are; none has an effect.
var functions = map[string]function{
	"changed": {1, 32, []types{ofString}, ofBool, func(facts *Facts, args []result) result {
		var globs []string
		for _, a := range args {
			globs = append(globs, a.text)
		}
		return truthResult(truth(!facts.FilesKnown || matchFiles(globs, facts.Changed)))
	}},
	"status": {1, 1, []types{ofString}, ofString, func(facts *Facts, args []result) result {
		status, final := facts.Statuses[args[0].text]
		if !final {
			return unknownResult
		}
		return textResult(status)
	}},
	"contains": {2, 2, []types{ofString | ofList, ofString}, ofBool, func(_ *Facts, args []result) result {
		if args[0].isList {
			return truthResult(truth(slices.Contains(args[0].list, args[1].text)))
		}
		return truthResult(truth(strings.Contains(args[0].text, args[1].text)))
	}},
	"starts_with": {2, 2, []types{ofString, ofString}, ofBool, func(_ *Facts, args []result) result {
		return truthResult(truth(strings.HasPrefix(args[0].text, args[1].text)))
	}},
	"ends_with": {2, 2, []types{ofString, ofString}, ofBool, func(_ *Facts, args []result) result {
		return truthResult(truth(strings.HasSuffix(args[0].text, args[1].text)))
	}},
	"match": {2, 2, []types{ofString, ofString}, ofBool, func(_ *Facts, args []result) result {
		return truthResult(truth(matchGlob(args[0].text, args[1].text)))
	}},
	"lower": {1, 1, []types{ofString}, ofString, func(_ *Facts, args []result) result {
		return textResult(strings.ToLower(args[0].text))
	}},
}

// name is the value of a name. One without a value is empty, never an error.
func (f *Facts) name(name string) result {
	root, rest, _ := strings.Cut(name, ".")
	if f.open && (root == "param" || root == "matrix" || root == "actor" || root == "default_branch") {
		return unknownResult
	}
	switch root {
	case "param":
		return textResult(f.Params[rest])
	case "matrix":
		return textResult(f.Matrix[rest])
	case "outputs":
		stage, output := splitOutput(rest)
		if _, final := f.Statuses[stage]; !final {
			return unknownResult
		}
		return textResult(f.Outputs[stage][output])
	case "fork":
		return truthResult(truth(f.Fork))
	}
	if n, ok := plainNames[name]; ok {
		return textResult(n(f))
	}
	return textResult("")
}

// plainNames are the names of the run that hold a string.
var plainNames = map[string]func(*Facts) string{
	"branch":         func(f *Facts) string { return f.Branch },
	"tag":            func(f *Facts) string { return f.Tag },
	"ref":            func(f *Facts) string { return f.Ref },
	"base":           func(f *Facts) string { return f.Base },
	"head":           func(f *Facts) string { return f.Head },
	"event":          func(f *Facts) string { return f.Event },
	"actor":          func(f *Facts) string { return f.Actor },
	"default_branch": func(f *Facts) string { return f.DefaultBranch },
	"pipeline":       func(f *Facts) string { return f.Pipeline },
}

// splitOutput separates STAGE.NAME. A stage's name may hold dots, a variable's not.
func splitOutput(text string) (stage, name string) {
	at := strings.LastIndexByte(text, '.')
	if at < 0 {
		return text, ""
	}
	return text[:at], text[at+1:]
}
