package convert

import (
	"fmt"
	"slices"
	"strings"

	"github.com/buildit-dev/buildit/internal/pattern"
	"github.com/buildit-dev/buildit/internal/pipeline/kdl"
)

// steps converts the steps of a job. What is said of a step that is not carried over
// stands above the next command.
func (j *job) steps() {
	steps := j.item.get("steps")
	j.hoist(steps)
	pending := &kdl.Node{}
	for i, step := range steps.items() {
		if i == maxSteps {
			j.w.lost(step, pending, "the steps from here on", fmt.Sprintf("a stage has at most %d commands", maxSteps), "split the job")
			break
		}
		before := len(j.stage.Children)
		if step.get("run") != nil {
			j.command(step, pending)
		} else {
			j.action(step, pending)
		}
		for _, n := range j.stage.Children[before:] {
			if n.Name == "run" && len(pending.Comments) > 0 {
				n.Comments, pending.Comments = append(pending.Comments, n.Comments...), nil
			}
		}
	}
	if len(pending.Comments) > 0 {
		j.stage.Comments = append(j.stage.Comments, pending.Comments...)
	}
	if !j.checked {
		j.add(kdl.New("checkout", "none"))
	}
	j.shell()
}

// shell is bash where a command needs it: GitHub's default is bash -e.
func (j *job) shell() {
	if j.stage.Child("shell") != nil || strings.Contains(fmt.Sprint(j.stage.Child("image")), "alpine") {
		return
	}
	for _, n := range j.stage.Children {
		if n.Name == "run" && bashisms().MatchString(n.Args[0].(string)) {
			j.add(kdl.New("shell", "bash", "-e", "-c"))
			return
		}
	}
}

// hoist makes variables of steps those of the stage where no two steps differ.
func (j *job) hoist(steps *item) {
	values, clash := map[string]string{}, map[string]bool{}
	var firsts []pair
	list := steps.items()
	for _, step := range list[:min(len(list), maxSteps)] {
		for _, p := range step.get("env").entries() {
			value, seen := values[p.key.text]
			clash[p.key.text] = clash[p.key.text] || seen && value != p.value.str() || strings.Contains(p.value.str(), "steps.")
			if values[p.key.text] = p.value.str(); !seen {
				firsts = append(firsts, p)
			}
		}
	}
	jobs := j.item.get("env")
	env := j.stage.Child("env")
	if env == nil {
		env = &kdl.Node{Name: "env"}
		defer func() {
			if len(env.Children) > 0 {
				j.add(env)
			}
		}()
	}
	for _, p := range firsts {
		if clash[p.key.text] || jobs.get(p.key.text) != nil || j.w.root.get("env", p.key.text) != nil {
			continue
		}
		losses := len(j.w.losses)
		j.envValue(env, p)
		if losses == len(j.w.losses) {
			j.hoisted[p.key.text] = p.value.str()
		}
	}
}

// command converts a step with run.
func (j *job) command(step *item, pending *kdl.Node) {
	run := step.get("run")
	shell := orElse(step.get("shell").str(), orElse(j.item.get("defaults", "run", "shell").str(), j.w.root.get("defaults", "run", "shell").str()))
	prefix, wanted := j.guard(step, pending)
	if !wanted {
		return
	}
	what := "run: " + firstLine(run.str())
	posix := shell == "" || shell == "bash" || shell == "sh"
	script := strings.TrimRight(run.str(), "\n ")
	var err error
	if posix {
		script, err = command(j.reach(script), j)
	} else if strings.Contains(script, "${{") {
		err = fmt.Errorf("the shell %s reads variables in its own way", shell)
	}
	if err != nil {
		j.w.lost(run, pending, what, err.Error(), "read the value from a variable of the environment")
		return
	}
	if unset := unknownVariable().FindString(script); unset != "" {
		j.w.lost(run, pending, unset+" in "+what, "nothing sets this variable here", otherVariables[unset])
	}
	exports, err := j.exports(step)
	if err != nil {
		j.w.lost(step.get("env"), pending, "env of "+what, err.Error(), "")
		return
	}
	script = renamed(githubSlug().ReplaceAllString(script, "$$BUILDIT_REPO_OWNER/$$BUILDIT_REPO_NAME"), githubVariables)
	script = j.stepOutputs(step, script)
	switch {
	case !posix && prefix+exports != "":
		j.w.lost(step, pending, "if or env of "+what, "they are said in a shell, and this is "+shell, "ask in the script itself")
	case posix:
		script = prefix + exports + script
	}
	if c := step.get("continue-on-error"); c.isTrue() && posix {
		script = "set +e\n(\n    set -e\n" + indent(script) + "\n)\nexit 0"
	} else if c.isTrue() {
		j.w.lost(c, pending, "continue-on-error of "+what, "it is said in a shell, and this is "+shell, "catch the failure in the script")
	}
	if strings.TrimSpace(script) == "" {
		return
	}
	n := j.add(&kdl.Node{Name: "run", Args: []any{script}, Origin: j.w.origin(run)})
	j.setShell(shell, n)
	j.runOptions(n, step)
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if r := []rune(line); len(r) > 60 {
		line = string(r[:57]) + "..."
	}
	return line
}

func indent(script string) string {
	return "    " + strings.ReplaceAll(script, "\n", "\n    ")
}

var githubSlug = pattern.Late(`\$\{?GITHUB_REPOSITORY\b\}?`)

var unknownVariable = pattern.Late(`GITHUB_(?:PATH|EVENT_PATH|EVENT_NAME|REF_NAME|REF_TYPE|TOKEN_FILE|API_URL|SERVER_URL|STATE)\b`)

var otherVariables = map[string]string{
	"GITHUB_PATH": `set PATH in each command that needs it`, "GITHUB_REF_NAME": `"${BUILDIT_TAG:-$BUILDIT_BRANCH}"`,
	"GITHUB_EVENT_NAME": `"$BUILDIT_EVENT", whose words are push, tag, pull-request, schedule, manual, upstream`,
	"GITHUB_REF_TYPE":   `"$BUILDIT_TAG" is empty unless it is a tag`,
}

// shells are those of GitHub that do not need a file, as ours are called.
var shellWords = map[string][]any{"bash": {"bash"}, "sh": {"sh"}, "python": {"python3", "-c"}}

// setShell sets the shell of the stage; a stage has one.
func (j *job) setShell(shell string, n *kdl.Node) {
	if shell == "" {
		return
	}
	words := shellWords[shell]
	present := j.stage.Child("shell")
	switch {
	case words == nil:
		j.w.lost(j.w.places[n.Origin-1], n, "shell: "+shell, "a command is one argument of its shell, and this one wants a file", `shell "NAME" "-c"`)
	case present == nil && len(j.runs()) == 1 || shell == "bash" && present == nil:
		j.add(kdl.New("shell", words...))
	case present == nil || present.Args[0] != words[0]:
		if shell == "python" {
			n.Args[0] = "python3 - <<'PYTHON'\n" + n.Args[0].(string) + "\nPYTHON"
			return
		}
		if shell != "sh" {
			j.w.lost(j.w.places[n.Origin-1], n, "shell: "+shell, "a stage has one shell", "split the stage")
		}
	}
}

func (j *job) runs() []*kdl.Node {
	var all []*kdl.Node
	for _, n := range j.stage.Children {
		if n.Name == "run" {
			all = append(all, n)
		}
	}
	return all
}

// runOptions are name, folder and time of a command.
func (j *job) runOptions(n *kdl.Node, step *item) {
	if name := step.get("name").str(); name != "" && !strings.Contains(name, "${{") {
		n.With("name", escapeField(name)[:min(len(escapeField(name)), 200)])
	}
	dir := step.get("working-directory")
	if dir == nil {
		dir = j.item.get("defaults", "run", "working-directory")
	}
	if dir == nil {
		dir = j.w.root.get("defaults", "run", "working-directory")
	}
	if dir != nil {
		text, err := fieldText(strings.TrimPrefix(dir.str(), "./"), j)
		if err != nil {
			j.w.lost(dir, n, "working-directory: "+dir.str(), err.Error(), "cd in the command")
		} else if text = strings.TrimRight(text, "/"); text != "" && text != "." {
			n.With("dir", text)
		}
	}
	if minutes, ok := step.get("timeout-minutes").number(); ok && minutes > 0 {
		n.With("timeout", fmt.Sprintf("%dm", min(minutes, 24*60)))
	}
}

// guard is what a step's `if` becomes: a line that ends the command early. A step
// that can never run is not wanted.
func (j *job) guard(step *item, pending *kdl.Node) (prefix string, wanted bool) {
	cond := step.get("if")
	if cond == nil {
		return "", true
	}
	what := orElse(step.get("name").str(), orElse(step.get("uses").str(), firstLine(step.get("run").str())))
	e, err := onlyExpr(cond.str())
	if err != nil {
		j.w.lost(cond, pending, "if: "+cond.str(), err.Error(), "the command is left out: say the condition in it")
		return "", false
	}
	var rest *expr
	for _, part := range e.conjuncts() {
		inner := part
		if part.op == "!" {
			inner = part.args[0]
		}
		switch {
		case part.op == "call" && part.text == "failure", part.op == "call" && part.text == "cancelled":
			j.w.lost(cond, pending, what+", if: "+cond.str(), "commands after one that failed do not run", `put it into a stage with needs "`+j.name+`" on="failed"`)
			return "", false
		case part.op == "call" && part.text == "success":
		case inner.op == "call" && (inner.text == "always" || inner.text == "cancelled" || inner.text == "failure"):
			j.w.lost(cond, pending, "if: "+cond.str()+" of "+what, "commands after one that failed do not run; it runs when the others succeeded", "artifacts and reports can have on=\"finished\"")
		case rest == nil:
			rest = part
		default:
			rest = &expr{op: "&&", args: []*expr{rest, part}}
		}
	}
	if rest == nil {
		return "", true
	}
	if when, err := rest.when(j); err == nil && (when == "true" || when == "false") {
		if when == "false" {
			j.w.lost(cond, pending, what, "its condition is never true here: "+cond.str(), "")
		}
		return "", when == "true"
	}
	test, err := rest.test(j)
	if err != nil {
		if cacheHit().MatchString(cond.str()) {
			j.w.lost(cond, pending, "if: "+cond.str(), "whether a cache was hit cannot be asked; the command always runs", "")
			return "", true
		}
		j.w.lost(cond, pending, what+", if: "+cond.str(), err.Error(), "the command is left out: say the condition in it")
		return "", false
	}
	if rest.op == "&&" || rest.op == "||" || rest.op == "name" {
		test = "{ " + test + "; }"
	}
	return test + " || exit 0\n", true
}

var cacheHit = pattern.Late(`outputs\.(cache-hit|cache-matched-key)`)

// exports set the variables of a step that could not become the stage's.
func (j *job) exports(step *item) (string, error) {
	var out strings.Builder
	for _, p := range step.get("env").entries() {
		if value, done := j.hoisted[p.key.text]; done && value == p.value.str() {
			continue
		}
		value, err := replaceWhole(j.reach(p.value.str()), j)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&out, "export %s=%s\n", p.key.text, value)
	}
	return out.String(), nil
}

// replaceWhole is text with expressions as one word of a shell.
func replaceWhole(text string, in names) (string, error) {
	if !strings.Contains(text, "${{") {
		return sh(text), nil
	}
	var out strings.Builder
	last := 0
	for _, at := range embedded().FindAllStringSubmatchIndex(text, -1) {
		out.WriteString(inDouble(text[last:at[0]]))
		last = at[1]
		e, err := parseExpr(text[at[2]:at[3]])
		if err != nil {
			return "", err
		}
		inside, err := e.shell(in)
		if err != nil {
			return "", err
		}
		out.WriteString(inside)
	}
	return `"` + tidy(out.String()+inDouble(text[last:])) + `"`, nil
}

// stepOutputs makes outputs of a step variables of later commands, where those ask.
func (j *job) stepOutputs(step *item, script string) string {
	id := step.get("id").str()
	if id == "" || !strings.Contains(script, "BUILDIT_OUTPUT") {
		return script
	}
	asked := slices.ContainsFunc(j.item.get("steps").items(), func(s *item) bool { return s.mentions("steps." + id + ".outputs.") })
	if !asked {
		return script
	}
	exported := slices.ContainsFunc(j.item.get("outputs").entries(), func(p pair) bool { return strings.Contains(p.value.text, "steps."+id+".outputs.") })
	if !exported {
		return strings.ReplaceAll(script, "BUILDIT_OUTPUT", "BUILDIT_ENV")
	}
	return script + "\ncat \"$BUILDIT_OUTPUT\" >> \"$BUILDIT_ENV\" # later commands ask for it too"
}

// mentions tells whether a scalar below it holds the word.
func (it *item) mentions(word string) bool {
	if it == nil {
		return false
	}
	return strings.Contains(it.text, word) || slices.ContainsFunc(it.list, func(c *item) bool { return c.mentions(word) }) ||
		slices.ContainsFunc(it.pairs, func(p pair) bool { return p.value.mentions(word) })
}
