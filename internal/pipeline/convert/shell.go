package convert

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/buildit-dev/buildit/internal/pattern"
)

// sh quotes text for a shell.
func sh(text string) string {
	if plainWord().MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

var plainWord = pattern.Late(`^[A-Za-z0-9_@%+=:,./-]+$`)

// shell says an expression as text inside double quotes of a shell: variables,
// never values of other people.
func (e *expr) shell(in names) (string, error) {
	switch e.op {
	case "lit", "bool":
		return inDouble(e.text), nil
	case "name":
		m, err := in.meaning(e.text)
		switch {
		case err != nil:
			return "", err
		case m.constant != nil:
			return inDouble(*m.constant), nil
		case m.variable == "":
			return "", fmt.Errorf("no variable holds %s", orElse(e.raw, e.text))
		}
		return "${" + m.variable + "}", nil
	case "call":
		return e.shellCall(in)
	case "||":
		return e.shellElse(in)
	}
	test, err := e.test(in)
	if err != nil {
		return "", err
	}
	return "$(if " + test + "; then echo true; else echo false; fi)", nil
}

func (e *expr) shellCall(in names) (string, error) {
	if e.text != "format" || len(e.args) == 0 || e.args[0].op != "lit" {
		return "", fmt.Errorf("%s() has no counterpart in a command", e.text)
	}
	text := inDouble(e.args[0].text)
	for i, a := range e.args[1:] {
		part, err := a.shell(in)
		if err != nil {
			return "", err
		}
		text = strings.ReplaceAll(text, fmt.Sprintf("{%d}", i), part)
	}
	return text, nil
}

// shellElse is a || b, and c && a || b.
func (e *expr) shellElse(in names) (string, error) {
	second, err := e.args[1].shell(in)
	if err != nil {
		return "", err
	}
	if e.args[0].op == "&&" {
		test, err := e.args[0].args[0].test(in)
		if err != nil {
			return "", err
		}
		first, err := e.args[0].args[1].shell(in)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf(`$(if %s; then echo "%s"; else echo "%s"; fi)`, test, first, second), nil
	}
	first, err := e.args[0].shell(in)
	if err != nil {
		return "", err
	}
	if name := strings.TrimSuffix(strings.TrimPrefix(first, "${"), "}"); variableName().MatchString(name) && first == "${"+name+"}" {
		return "${" + name + ":-" + second + "}", nil
	}
	return first, nil
}

var variableName = pattern.Late(`^[A-Za-z_][A-Za-z0-9_]*$`)

// inDouble writes literal text inside double quotes.
func inDouble(text string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`").Replace(text)
}

// test says an expression as a command of a shell that succeeds if it is true.
func (e *expr) test(in names) (string, error) {
	switch e.op {
	case "lit", "bool":
		return fmt.Sprint(e.text != "" && e.text != "false"), nil
	case "!":
		inner, err := e.args[0].test(in)
		return "! { " + inner + "; }", err
	case "&&", "||":
		return e.testJoined(in)
	case "call":
		return e.testCall(in)
	case "name":
		value, err := e.shell(in)
		return fmt.Sprintf(`[ -n "%s" ] && [ "%s" != false ]`, tidy(value), tidy(value)), err
	}
	if e.op != "==" && e.op != "!=" {
		return "", fmt.Errorf("%s has no counterpart in a command", e.op)
	}
	left, right := e.args[0], e.args[1]
	if left.op == "name" && strings.EqualFold(left.text, "github.event_name") && isConstant(right) {
		when, _ := in.comparison(left.text, e.op, right.text)
		if m := eventIs().FindStringSubmatch(when); m != nil {
			return fmt.Sprintf(`[ "$BUILDIT_EVENT" %s %s ]`, map[string]string{"==": "=", "!=": "!="}[m[1]], m[2]), nil
		}
		if when == "event in ['push', 'tag']" {
			return `{ [ "$BUILDIT_EVENT" = push ] || [ "$BUILDIT_EVENT" = tag ]; }`, nil
		}
	}
	a, err := left.shell(in)
	if err != nil {
		return "", err
	}
	b, err := right.shell(in)
	if err != nil {
		return "", err
	}
	op := "="
	if e.op == "!=" {
		op = "!="
	}
	return fmt.Sprintf("[ %s %s %s ]", shellWord(a), op, shellWord(b)), nil
}

var eventIs = pattern.Late(`^event (==|!=) '([a-z-]+)'$`)

// shellWord is text that stands in double quotes, without them where none are needed.
func shellWord(inside string) string {
	if plainWord().MatchString(inside) {
		return inside
	}
	return `"` + tidy(inside) + `"`
}

func (e *expr) testJoined(in names) (string, error) {
	var parts [2]string
	for i, a := range e.args {
		inner, err := a.test(in)
		if err != nil {
			return "", err
		}
		if a.op == "&&" || a.op == "||" || a.op == "name" {
			inner = "{ " + inner + "; }"
		}
		parts[i] = inner
	}
	return parts[0] + " " + e.op + " " + parts[1], nil
}

// testCall is one of the functions that look into a text.
func (e *expr) testCall(in names) (string, error) {
	pattern, known := map[string]string{"startswith": `"%s"*`, "endswith": `*"%s"`, "contains": `*"%s"*`}[e.text]
	switch {
	case e.text == "success" || e.text == "always":
		return "true", nil
	case !known || len(e.args) != 2:
		return "", fmt.Errorf("%s() has no counterpart in a command", e.text)
	}
	text, err := e.args[0].shell(in)
	if err != nil {
		return "", err
	}
	part, err := e.args[1].shell(in)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(`case "%s" in %s) true ;; *) false ;; esac`, tidy(text), fmt.Sprintf(pattern, tidy(part))), nil
}

// tidy leaves out the braces of a variable that needs none.
func tidy(inside string) string {
	return braced().ReplaceAllString(inside, "$$$1$2")
}

var braced = pattern.Late(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}([^A-Za-z0-9_\[]|$)`)

// quoting is where in a shell script a place stands.
type quoting struct {
	single, double, comment bool
	heredoc                 string // the word that ends it
	literal                 bool   // a heredoc in which nothing is replaced
}

var heredocWord = pattern.Late(`<<-?[ \t]*(\\?)(['"]?)([A-Za-z_][A-Za-z0-9_]*)`)

// replaceIn replaces what pattern finds in a shell script. say answers text for
// inside double quotes.
func replaceIn(script string, pattern *regexp.Regexp, say func(found []string) (string, error)) (string, error) {
	var out strings.Builder
	q := &quoting{}
	last := 0
	for _, at := range pattern.FindAllStringSubmatchIndex(script, -1) {
		q.walk(script[last:at[0]])
		out.WriteString(script[last:at[0]])
		last = at[1]
		var found []string
		for i := 0; i < len(at); i += 2 {
			group := ""
			if at[i] >= 0 {
				group = script[at[i]:at[i+1]]
			}
			found = append(found, group)
		}
		inside, err := say(found)
		if err != nil {
			return "", err
		}
		if q.literal {
			return "", fmt.Errorf("it stands in a here-document whose word is quoted, in which a shell replaces nothing")
		}
		next := byte(' ')
		if last < len(script) {
			next = script[last]
		}
		out.WriteString(q.place(inside, next))
	}
	out.WriteString(script[last:])
	return wholeQuoted().ReplaceAllString(out.String(), "$1$2$3"), nil
}

// wholeQuoted is a variable that was all that stood between single quotes.
var wholeQuoted = pattern.Late(`(^|[\s=])\'\'("\$\{?[A-Za-z_][A-Za-z0-9_]*\}?")\'\'(\s|$)`)

// place writes text for inside double quotes where the script is now.
func (q *quoting) place(inside string, next byte) string {
	if braced().MatchString(inside+string(next)) || !strings.HasSuffix(inside, "}") {
		whole := tidy(inside + string(next))
		inside = whole[:len(whole)-1]
	}
	switch {
	case q.single && !strings.ContainsAny(inside, "$`\"\\"):
		return inside
	case q.single:
		return `'"` + inside + `"'`
	}
	return inside
}

// walk follows the quotes of a piece of script.
func (q *quoting) walk(piece string) {
	for i := 0; i < len(piece); i++ {
		c := piece[i]
		switch {
		case c == '\n':
			q.comment = false
			if q.heredoc != "" && q.ends(piece[i+1:]) {
				q.heredoc, q.literal = "", false
			}
		case q.heredoc != "" && q.literal, q.comment:
		case c == '\\' && !q.single:
			i++
		case q.heredoc != "":
		case c == '\'' && !q.double:
			q.single = !q.single
		case c == '"' && !q.single:
			q.double = !q.double
		case q.single || q.double:
		case c == '#' && (i == 0 || strings.IndexByte(" \t\n;", piece[i-1]) >= 0):
			q.comment = true
		case c == '<' && (i == 0 || piece[i-1] != '<'):
			if m := heredocWord().FindStringSubmatch(piece[i:]); m != nil && strings.HasPrefix(piece[i:], m[0]) {
				q.heredoc, q.literal = m[3], m[1]+m[2] != ""
				i += len(m[0]) - 1
				if m[2] != "" && i+1 < len(piece) {
					i++ // the closing quote of the word
				}
			}
		}
	}
}

func (q *quoting) ends(rest string) bool {
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line) == q.heredoc
}

// command replaces every ${{ … }} of a shell script by variables.
func command(script string, in names) (string, error) {
	return replaceIn(script, embedded(), func(found []string) (string, error) {
		e, err := parseExpr(found[1])
		if err != nil {
			return "", err
		}
		return e.shell(in)
	})
}

// renamed are variables under their names with us.
func renamed(script string, variables map[string]string) string {
	return anyVariable().ReplaceAllStringFunc(script, func(s string) string {
		name := strings.Trim(s, "${}")
		if ours := variables[name]; ours != "" {
			return strings.Replace(s, name, ours, 1)
		}
		return s
	})
}

var anyVariable = pattern.Late(`\$(?:[A-Za-z_][A-Za-z0-9_]*|\{[A-Za-z_][A-Za-z0-9_]*)`)

// bashisms are what sh does not know or does otherwise.
var bashisms = pattern.Late(`\[\[|<\(|>\(|<<<|&>|\|&|\(\(|\$'|\$\{[A-Za-z_]\w*(?:\[|//?|\^|,|:\d)|\$RANDOM|\{\d+\.\.\d+\}|(?m:^|[;&|(]\s*|\s)(?:source|pushd|popd|shopt|declare|mapfile|readarray|local|function|set -o|set -[a-z]*o|echo -[en]|read -[a-z]|trap .* ERR)\s|(?m:^\s*\w+=\()|\[ [^]]* == `)

// pipes are commands joined so that the end of all but the last goes unseen by sh.
var pipes = pattern.Late(`[^|]\|[^|&]`)
