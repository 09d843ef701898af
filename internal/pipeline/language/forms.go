package language

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What values may look like (pipelines.md 2.2). A form reports at most one mistake
// of a value.

var (
	onlyString = []kind{isString}
	anyScalar  = []kind{isString, isNumber, isBool}
)

var (
	anyString = text(4096)
	boolean   = &form{needs: "true or false", kinds: []kind{isBool}, example: "true"}
	scalar    = &form{needs: "a string, a whole number, true or false", kinds: anyScalar, example: `"..."`, check: checkPlain}
	script    = &form{needs: "a command", kinds: onlyString, example: `"make test"`, check: checkScript}
	globForm  = &form{needs: "a glob", kinds: onlyString, example: `"src/**"`, check: checkGlob}
	pattern   = &form{needs: "a pattern", kinds: onlyString, example: `"main"`, check: checkPattern}
	treePath  = &form{needs: "a path", kinds: onlyString, example: `"dist"`, check: checkPath}

	variableName = &form{needs: "a name", kinds: onlyString, example: `"NPM_TOKEN"`, check: checkVariableWord}
	variableKey  = &form{needs: "the name of a variable", kinds: onlyString, example: `"VERSION"`, check: checkVariable}
	axisKey      = key("axis")
	stageName    = anyName("stage")

	expression  = &form{needs: "an expression", kinds: onlyString, example: `"branch == 'main'"`, check: checkExpression}
	eventForm   = &form{needs: "an event", kinds: onlyString, example: `"push"`, check: checkEvent}
	whenEvent   = oneOf("event", "push", "pull-request", "tag", "schedule", "manual", "upstream", "merge-group", "stack")
	runnerClass = &form{needs: "a runner class", kinds: onlyString, example: `"auto"`, check: checkRunnerClass}
	size        = &form{needs: "a size", kinds: onlyString, example: `"2x4"`, check: checkSize}
	idle        = &form{needs: "a duration", kinds: onlyString, example: `"30m"`, check: checkIdle}
	retryClass  = &form{needs: "a class of failures", kinds: onlyString, example: `"infra"`, check: checkRetryClass}
	cronForm    = &form{needs: "a cron expression", kinds: onlyString, example: `"0 3 * * *"`, check: checkCron}
	zoneForm    = &form{needs: "a time zone", kinds: onlyString, example: `"Europe/Paris"`, check: checkZone}
	includePath = &form{needs: "a path", kinds: onlyString, example: `"ci/go.kdl"`, check: checkPlain}
	checkoutRef = &form{needs: "head or merge", kinds: onlyString, example: `"head"`, check: checkCheckoutRef}
)

// oneOf is a word of a list.
func oneOf(noun string, words ...string) *form {
	return &form{
		needs: "one of " + strings.Join(words, ", "), kinds: onlyString, example: quote(words[0]),
		check: func(c *checker, v *value, _ place) { c.choice(v, noun, words) },
	}
}

// choice reports a word that is not of the list.
func (c *checker) choice(v *value, noun string, words []string) {
	if slices.Contains(words, v.text) {
		return
	}
	list := strings.Join(words, ", ")
	help := "one of " + list
	if len(words) == 1 {
		help = list
	}
	nearest := Nearest(v.text, words)
	if word := foreignValues[v.text]; slices.Contains(words, word) {
		nearest = word
	}
	if nearest != "" {
		help = fmt.Sprintf("did you mean %q? (%s)", nearest, list)
	}
	c.errorAt(v, "bad-value", fmt.Sprintf("there is no %s %q", noun, v.text), help)
}

// foreignValues are values of other systems.
var foreignValues = map[string]string{
	"always": "finished", "failure": "failed", "on_failure": "failed", "success": "succeeded", "passed": "succeeded", "on_success": "succeeded",
	"pull_request": "pull-request", "merge_request": "pull-request", "workflow_dispatch": "manual", "merge_group": "merge-group", "cron": "schedule",
	"cancel": "cancel-older", "cancel-in-progress": "cancel-older", "x86_64": "amd64", "x64": "amd64", "aarch64": "arm64", "arm": "arm64",
	"number": "int", "integer": "int", "boolean": "bool", "enum": "choice", "options": "choice", "junitxml": "junit",
	"docker": "container", "k8s": "kubernetes", "local": "process", "shell": "process", "synchronize": "updated", "ready_for_review": "ready", "read-only": "read",
	"pull": "read", "restore": "read",
}

// text is a string without a form of its own, of at most limit bytes.
func text(limit int) *form {
	return &form{needs: "a string", kinds: onlyString, example: `"..."`, check: func(c *checker, v *value, at place) {
		if v.text == "" {
			c.errorAt(v, "bad-value", at.label+" is empty", "give it a value, or leave it out")
			return
		}
		if len(v.text) > limit {
			c.errorAt(v, "limit", fmt.Sprintf("%s has at most %d bytes; this one has %d", at.label, limit, len(v.text)), "shorten it")
			return
		}
		checkPlain(c, v, at)
	}}
}

// checkPlain refuses ${…} where nothing would replace it.
func checkPlain(c *checker, v *value, at place) {
	if refs := references(v.text); len(refs) > 0 {
		c.errorIn(v, refs[0].offset, refs[0].end, "unknown-interpolation", fmt.Sprintf("${%s} is not replaced in %s", refs[0].name, at.label), "write the value itself")
		return
	}
	c.foreignInterpolation(v)
}

// integer is a whole number in a range.
func integer(least, most int) *form {
	f := &form{needs: fmt.Sprintf("a whole number from %d to %d", least, most), kinds: []kind{isNumber}, example: strconv.Itoa(min(max(2, least), most))}
	f.check = func(c *checker, v *value, at place) {
		if !allDigits(v.text) {
			c.errorAt(v, "wrong-type", fmt.Sprintf("%s needs %s, not %s", at.label, f.needs, v.text), at.prefix+f.example)
			return
		}
		number, err := strconv.Atoi(v.text)
		switch {
		case err != nil || number > most:
			c.errorAt(v, "limit", fmt.Sprintf("%s is at most %d", at.label, most), at.prefix+strconv.Itoa(most))
		case number < least:
			c.errorAt(v, "limit", fmt.Sprintf("%s is at least %d", at.label, least), at.prefix+strconv.Itoa(least))
		}
	}
	return f
}

// durationHelp is the help for what is no duration.
func durationHelp(written string) string {
	const units = " (units s, m, h, d)"
	fields := durationWords.FindStringSubmatch(strings.ToLower(strings.TrimSpace(written)))
	if fields == nil {
		return `"20m"` + units
	}
	guess := fields[1] + fields[3][:1]
	if fields[2] == "" {
		return fmt.Sprintf("did you mean %q?%s", guess, units)
	}
	return fmt.Sprintf("%q%s", guess, units)
}

// durationWords are what other languages write: 5min, 20 minutes, 1 hour.
var durationWords = newLateRegexp(`^([0-9]{1,6})( ?)(s|sec|secs|second|seconds|m|min|mins|minute|minutes|h|hr|hrs|hour|hours|d|day|days)$`)

// duration is a time between two limits.
func duration(least, most time.Duration) *form {
	return &form{
		needs: "a duration", kinds: onlyString, example: `"20m"`,
		check: func(c *checker, v *value, at place) { c.duration(v, at, least, most) },
	}
}

func (c *checker) duration(v *value, at place, least, most time.Duration) {
	d, ok := parseDuration(v.text)
	owner := "a " + at.rule.name
	if at.label == at.node.key {
		owner = c.parentName(at)
	} else if strings.HasPrefix(at.rule.name, "a") {
		owner = "an " + at.rule.name
	}
	switch {
	case !ok:
		c.errorAt(v, "bad-duration", fmt.Sprintf("%q is not a duration", v.text), durationHelp(v.text))
	case d > most:
		help := "choose a shorter time"
		if at.label == "timeout" {
			help = "split the work, or use a schedule"
		}
		c.errorAt(v, "limit", fmt.Sprintf("%s of %s is at most %s", at.label, owner, shortDuration(most)), help)
	case d < least:
		c.errorAt(v, "limit", fmt.Sprintf("%s of %s is at least %s", at.label, owner, shortDuration(least)), at.prefix+quote(shortDuration(least)))
	}
}

// shortDuration writes a duration as a file would.
func shortDuration(d time.Duration) string {
	for _, unit := range []struct {
		name string
		of   time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}} {
		if d%unit.of == 0 && (unit.name != "d" || d > unit.of) {
			return strconv.Itoa(int(d/unit.of)) + unit.name
		}
	}
	return strconv.Itoa(int(d/time.Second)) + "s"
}

func checkIdle(c *checker, v *value, at place) {
	if v.text != "off" {
		c.duration(v, at, time.Second, 24*time.Hour)
	}
}

// Names of things, keys of parameters and axes, and variables.
var (
	nameWord     = word{upper + lower + digits, upper + lower + digits + "._-", 63}
	keyWord      = word{lower, lower + digits + "_-", 63}
	variableWord = word{upper + lower + "_", upper + lower + digits + "_", 128}
)

// name is the name that a thing gets here.
func name(noun string) *form {
	return &form{needs: "a name", kinds: onlyString, example: `"test"`, check: func(c *checker, v *value, at place) {
		if nameWord.MatchString(v.text) {
			return
		}
		help := at.prefix + quote(orElse(slug(v.text), "test"))
		if v.text != "" && at.rule.child("description") != nil {
			help += " with description " + quote(v.text)
		}
		c.errorAt(v, "bad-name", fmt.Sprintf("%s %s name has letters, digits, dot, dash and underscore, at most 63", article(noun), noun), help)
	}}
}

// anyName is the name of a thing that stands elsewhere: that it must exist is
// checked later, and covers its letters.
func anyName(noun string) *form {
	return &form{needs: "a name", kinds: onlyString, example: `"test"`, check: func(c *checker, v *value, at place) {
		if v.text == "" {
			c.errorAt(v, "bad-name", fmt.Sprintf("the name of a %s is missing", noun), at.prefix+`"test"`)
			return
		}
		checkPlain(c, v, at)
	}}
}

// key is the name of a parameter or an axis, which becomes part of a variable's.
func key(noun string) *form {
	return &form{needs: "a name", kinds: onlyString, example: `"target"`, check: func(c *checker, v *value, _ place) {
		switch {
		case v.text == "include" || v.text == "exclude":
			c.errorAt(v, "bad-name", fmt.Sprintf("%s has a meaning of its own in a matrix", v.text), "choose another name")
		case !keyWord.MatchString(v.text):
			help := "choose another name"
			if s := strings.ToLower(slug(v.text)); keyWord.MatchString(s) {
				help = quote(s)
			}
			c.errorAt(v, "bad-name", fmt.Sprintf("the name of %s %s begins with a small letter and has small letters, digits, dash and underscore, at most 63", article(noun), noun), help)
		}
	}}
}

// slug makes a name of words.
func slug(text string) string {
	var out strings.Builder
	dash := false
	for _, r := range strings.ToLower(text) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || (r == '.' || r == '_') && out.Len() > 0:
			if dash && out.Len() > 0 {
				out.WriteByte('-')
			}
			out.WriteRune(r)
			dash = false
		default:
			dash = true
		}
	}
	s := out.String()
	return s[:min(len(s), 63)]
}

func checkVariableWord(c *checker, v *value, _ place) {
	if !variableWord.MatchString(v.text) {
		c.badVariable(v)
	}
}

func (c *checker) badVariable(v *value) {
	help := "choose another name"
	if s := strings.ToUpper(strings.NewReplacer("-", "_", ".", "_", " ", "_").Replace(v.text)); variableWord.MatchString(s) {
		help = s
	}
	c.errorAt(v, "bad-name", "the name of a variable has letters, digits and underscore and does not begin with a digit", help)
}

// machinery are the variables by which programs find each other (pipelines.md 3.7).
var machinery = newLateRegexp(`^(PATH|HOME|IFS|ENV|BASH_ENV|(LD|DYLD|GIT)_[A-Z0-9_]*)$`)

// checkVariable is checkVariableWord for names that the file gives to variables.
func checkVariable(c *checker, v *value, at place) {
	switch {
	case at.rule != nil && at.rule.name == "env" && machinery.MatchString(v.text):
		c.warnAt(v, "reserved-env", v.text+" steers the shell, the loader or git itself", "choose another name, unless this is meant")
	case !variableWord.MatchString(v.text):
		c.badVariable(v)
	case strings.HasPrefix(v.text, "BUILDIT_"):
		c.errorAt(v, "reserved-env", "names that begin with BUILDIT_ are set by BuildIt", "choose another name")
	}
}

func checkGlob(c *checker, v *value, at place) {
	c.glob(v, strings.TrimPrefix(v.text, "!"))
	checkPlain(c, v, at)
}

// glob reports a glob that cannot be read or leaves the repository.
func (c *checker) glob(v *value, text string) {
	_, err := compileGlob(text)
	switch {
	case err != nil:
		c.errorAt(v, "bad-glob", fmt.Sprintf("%q is not a glob: %v", text, err), `"src/**"`)
	case strings.HasPrefix(text, "/"):
		c.errorAt(v, "bad-glob", "a glob counts from the root of the repository and has no / in front", quote(strings.TrimLeft(text, "/")))
	case slices.Contains(strings.Split(text, "/"), ".."):
		c.errorAt(v, "bad-glob", ".. would leave the repository", "begin at the root of the repository")
	case strings.Contains(text, `\`):
		c.errorAt(v, "bad-glob", "a backslash has no meaning in a glob", quote(strings.ReplaceAll(text, `\`, "/")))
	}
}

func checkPattern(c *checker, v *value, at place) {
	if text := strings.TrimPrefix(v.text, "!"); true {
		if _, err := compileGlob(text); err != nil {
			c.errorAt(v, "bad-glob", fmt.Sprintf("%q is not a pattern: %v", v.text, err), `"release/*"`)
			return
		}
		if short, ref := strings.CutPrefix(text, "refs/"); ref {
			_, short, _ = strings.Cut(short, "/")
			c.errorAt(v, "bad-value", "patterns are compared with the name of a branch or tag, without refs/...", quote(short))
			return
		}
	}
	checkPlain(c, v, at)
}

func checkPath(c *checker, v *value, at place) {
	if !c.insidePath(v) {
		return
	}
	checkPlain(c, v, at)
}

// insidePath refuses paths that leave the checkout.
func (c *checker) insidePath(v *value) bool {
	switch {
	case v.text == "":
		c.errorAt(v, "bad-value", "the path is empty", `"." is the checkout itself`)
	case strings.HasPrefix(v.text, "/"):
		c.errorAt(v, "bad-value", "a path stays inside the checkout and has no / in front", quote(strings.TrimLeft(v.text, "/")))
	case slices.Contains(strings.Split(v.text, "/"), ".."):
		c.errorAt(v, "bad-value", ".. would leave the checkout", "begin at the root of the repository")
	case strings.Contains(v.text, `\`):
		c.errorAt(v, "bad-value", "a path has slashes, no backslashes", quote(strings.ReplaceAll(v.text, `\`, "/")))
	default:
		return true
	}
	return false
}

func checkEvent(c *checker, v *value, at place) {
	word, old := oldEvents[v.text]
	if old {
		c.warnAt(v, "old-word", fmt.Sprintf("%q is an old word for %q", v.text, word), at.prefix+quote(word)).fix(at.node.file, v.span, quote(word))
		return
	}
	if known := foreignEvents[v.text]; known != "" {
		c.errorAt(v, "bad-value", fmt.Sprintf("there is no event %q", v.text), known)
		return
	}
	c.choice(v, "event", Events)
}

// runnerClasses are what may be named; the last comes later.
var runnerClasses = []string{"auto", "process", "sandbox", "container", "kubernetes", "pool", "lambda", "fargate", "managed"}

func checkRunnerClass(c *checker, v *value, _ place) {
	if v.text == "managed" {
		c.errorAt(v, "not-available", `runner "managed" is part of the language but not built yet`, "remove it; the file would not do what it says")
		return
	}
	c.choice(v, "runner class", runnerClasses)
}

func checkCheckoutRef(c *checker, v *value, _ place) {
	if v.text == "merge" {
		c.errorAt(v, "not-available", `checkout ref="merge" is part of the language but not built yet`, "remove it; the file would not do what it says")
		return
	}
	c.choice(v, "checkout", []string{"head", "merge"})
}

// sizeWord is vCPU x GiB.
var sizeWord = newLateRegexp(`^(0\.25|0\.5|[0-9]{1,3})x(0\.5|[0-9]{1,4})$`)

func checkSize(c *checker, v *value, _ place) {
	if !sizeWord.MatchString(v.text) {
		c.errorAt(v, "bad-size", fmt.Sprintf("%q is not a size", v.text), `"2x4" is 2 vCPU and 4 GiB`)
	}
}

var exitClass = newLateRegexp(`^exit:([1-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-5])$`)

func checkRetryClass(c *checker, v *value, _ place) {
	if exitClass.MatchString(v.text) {
		return
	}
	if strings.HasPrefix(v.text, "exit:") {
		c.errorAt(v, "bad-value", fmt.Sprintf("%q names no exit code", v.text), `"exit:1" to "exit:255"`)
		return
	}
	c.choice(v, "class", []string{"infra", "exit", "exit:N", "signal", "oom", "timeout", "service", "any"})
}

func checkScript(c *checker, v *value, at place) {
	const limit = 32 << 10
	switch {
	case strings.TrimSpace(v.text) == "":
		c.errorAt(v, "bad-value", "the command is empty", at.prefix+`"make test"`)
	case len(v.text) > limit:
		c.errorAt(v, "limit", fmt.Sprintf("a command has at most %d bytes; this one has %d", limit, len(v.text)), "put it into a script of the repository")
	default:
		c.commandReferences(v)
	}
}
