package language

import (
	"fmt"
	"slices"
	"strings"
)

// types is a set of the types of expressions.
type types uint8

const (
	ofString types = 1 << iota
	ofInt
	ofBool
	ofList
	anyType = ofString | ofInt | ofBool | ofList
)

func (t types) String() string {
	var names []string
	for i, name := range []string{"a string", "an int", "a bool", "a list"} {
		if t&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " or ")
}

// names answers what the names of an expression are, for one stage.
type names interface {
	// param is the type of a parameter; ok is false if there is none.
	param(name string) (t types, ok bool)
	// matrix tells whether the stage's matrix has that key.
	matrix(name string) bool
	// output says what is wrong with asking for that output, or status, of a stage.
	output(stage, name string) *expressionError
	// words are known names of a root, for suggestions.
	words(root string) []string
}

// check finds the type of an operation, or what is wrong with it.
func (o *operation) check(in names) (types, *expressionError) {
	switch o.op {
	case "string":
		return ofString, nil
	case "int":
		return ofInt, nil
	case "bool":
		return ofBool, nil
	case "name":
		return o.checkName(in)
	case "list":
		for _, arg := range o.args {
			if err := arg.want(in, ofString, "a list holds strings"); err != nil {
				return 0, err
			}
		}
		return ofList, nil
	case "call":
		return o.checkCall(in)
	case "||", "&&", "!":
		for _, arg := range o.args {
			if err := arg.want(in, ofBool, o.joins()); err != nil {
				return 0, err
			}
		}
		return ofBool, nil
	}
	return o.checkComparison(in)
}

// joins says what an operator between conditions does.
func (o *operation) joins() string {
	if o.op == "!" {
		return "! negates a condition"
	}
	return o.op + " joins conditions"
}

// want checks that the operation has one of the types.
func (o *operation) want(in names, want types, why string) *expressionError {
	got, err := o.check(in)
	if err != nil {
		return err
	}
	if got&want == 0 {
		return o.mistake(fmt.Sprintf("this is %s, and %s", got, why), o.wantHelp(want))
	}
	return nil
}

func (o *operation) wantHelp(want types) string {
	if want == ofBool && o.op == "name" {
		return "compare it: " + o.text + " == '...'"
	}
	return ""
}

func (o *operation) mistake(message, help string) *expressionError {
	return &expressionError{offset: o.offset, end: o.end, message: message, help: help}
}

func (o *operation) checkComparison(in names) (types, *expressionError) {
	left, err := o.args[0].check(in)
	if err != nil {
		return 0, err
	}
	right, err := o.args[1].check(in)
	if err != nil {
		return 0, err
	}
	switch o.op {
	case "in":
		if left&ofString == 0 || right&ofList == 0 {
			return 0, o.mistake(fmt.Sprintf("in looks for a string in a list, not for %s in %s", left, right), "branch in ['main', 'dev']")
		}
	case "=~", "!~":
		if left&right&ofString == 0 {
			return 0, o.mistake(fmt.Sprintf("%s compares a string with a pattern, not %s with %s", o.op, left, right), "branch "+o.op+" '^release/'")
		}
		if o.args[1].op == "string" {
			if _, err := compileRegexp(o.args[1].text); err != nil {
				return 0, o.args[1].mistake(err.Error(), "patterns are those of RE2")
			}
		}
	case "<", "<=", ">", ">=":
		if left&right&ofInt == 0 {
			return 0, o.mistake(fmt.Sprintf("%s compares ints, not %s with %s", o.op, left, right), "")
		}
	default:
		if left&right == 0 {
			return 0, o.mistake(fmt.Sprintf("%s and %s cannot be compared", left, right), comparisonHelp(o, left))
		}
	}
	return ofBool, nil
}

func comparisonHelp(o *operation, left types) string {
	switch literal := o.args[1]; {
	case left == ofString && (literal.op == "int" || literal.op == "bool"):
		return "'" + literal.text + "'"
	case left == ofBool && literal.op == "string" && o.op == "==":
		return "a bool stands alone, or with ! in front"
	case left == ofInt && literal.op == "string" && allDigits(literal.text):
		return literal.text
	}
	return ""
}

func (o *operation) checkCall(in names) (types, *expressionError) {
	f, ok := functions[o.text]
	if !ok {
		help := suggest(o.text, sortedKeys(functions), "functions")
		if foreign := foreignFunctions[o.text]; foreign != "" {
			help = foreign
		}
		return 0, o.mistake(fmt.Sprintf("there is no function %q", o.text), help)
	}
	if len(o.args) < f.min || len(o.args) > f.max {
		return 0, o.mistake(fmt.Sprintf("%s takes %s, not %d", o.text, f.count(), len(o.args)), functionHelp[o.text])
	}
	for i, arg := range o.args {
		want := f.params[min(i, len(f.params)-1)]
		if err := arg.want(in, want, fmt.Sprintf("%s takes %s", o.text, want)); err != nil {
			return 0, err
		}
	}
	first := o.args[0]
	switch {
	case (o.text == "changed" || o.text == "match") && first.op == "string":
		if err := checkGlobText(o.text, first); err != nil {
			return 0, err
		}
	case o.text == "status" && first.op == "string":
		if err := in.output(first.text, ""); err != nil {
			err.offset, err.end = first.offset, first.end
			return 0, err
		}
	}
	return f.returns, nil
}

// checkGlobText checks the glob that a function is given: that of changed counts
// from the root of the repository, that of match is compared with a name.
func checkGlobText(function string, glob *operation) *expressionError {
	_, err := compileGlob(glob.text)
	switch {
	case err != nil:
		return glob.mistake("this is not a glob: "+err.Error(), "'src/**'")
	case function == "match":
		return nil
	case strings.HasPrefix(glob.text, "/"):
		return glob.mistake("a glob counts from the root of the repository and has no / in front", "'"+strings.TrimLeft(glob.text, "/")+"'")
	case slices.Contains(strings.Split(glob.text, "/"), ".."):
		return glob.mistake(".. would leave the repository", "begin at the root of the repository")
	}
	return nil
}

// functionHelp is how each function is called.
var functionHelp = map[string]string{
	"changed": "changed('src/**')", "status": "status('test')", "contains": "contains(branch, 'fix')", "starts_with": "starts_with(branch, 'release/')",
	"ends_with": "ends_with(branch, '-fix')", "match": "match('release/*', branch)", "lower": "lower(branch)",
}

// foreignFunctions are those of other systems.
var foreignFunctions = map[string]string{
	"startsWith": "did you mean \"starts_with\"?", "endsWith": "did you mean \"ends_with\"?", "always": `needs "..." on="finished"`,
	"failure": `needs "..." on="failed"`, "success": `needs "..." on="succeeded" is the default`, "toLower": "did you mean \"lower\"?",
}

// foreignNames are names of other systems in expressions.
var foreignNames = map[string]string{
	"github.ref": "ref", "github.ref_name": "branch", "github.event_name": "event", "github.actor": "actor", "github.base_ref": "base", "github.head_ref": "head",
	"github.repository": "pipeline", "git.branch": "branch", "git.tag": "tag", "git.ref": "ref", "git.base": "base", "git.head": "head",
	"pipeline.git.branch": "branch", "pipeline.git.tag": "tag", "CI_COMMIT_BRANCH": "branch", "CI_COMMIT_TAG": "tag", "CI_PIPELINE_SOURCE": "event",
	"pipeline.name": "pipeline", "build.branch": "branch", "build.tag": "tag",
}

func (o *operation) checkName(in names) (types, *expressionError) {
	root, rest, dotted := strings.Cut(o.text, ".")
	switch {
	case o.text == "fork":
		return ofBool, nil
	case plainNames[o.text] != nil:
		return ofString, nil
	case root == "param" && dotted:
		t, ok := in.param(rest)
		if !ok {
			e := o.mistake(fmt.Sprintf("there is no param %q", rest), orElse(suggest(rest, in.words("param"), "params here"), fmt.Sprintf("param %q at the top level", rest)))
			e.code = "unknown-param"
			return 0, e
		}
		return t, nil
	case root == "matrix" && dotted:
		if !in.matrix(rest) {
			return 0, o.mistake(fmt.Sprintf("the matrix of this stage has no %q", rest), orElse(suggest(rest, in.words("matrix"), "axes here"), fmt.Sprintf(`matrix { %s "..."; }`, rest)))
		}
		return ofString, nil
	case root == "outputs" && strings.Count(o.text, ".") >= 2:
		stage, output := splitOutput(rest)
		if err := in.output(stage, output); err != nil {
			err.offset, err.end = o.offset, o.end
			return 0, err
		}
		return ofString | ofInt, nil
	}
	known := append(sortedKeys(plainNames), "fork")
	slices.Sort(known)
	help := suggest(o.text, known, "names")
	if word := foreignNames[o.text]; word != "" {
		help = meant(word)
	}
	return 0, o.mistake(fmt.Sprintf("there is no %q", o.text), help)
}
