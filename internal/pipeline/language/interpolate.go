package language

import (
	"fmt"
	"slices"
	"strings"
)

// interpolated says what ${…} may do in a value of type T (pipelines.md 2.5).
type interpolated struct {
	deed      string // what foreign text could do: "select an image"; "" where it is harmless
	noOutputs bool   // outputs and artifacts have no say here
	hash      bool   // ${hash:…} is allowed
}

var (
	image        = &form{needs: "an image", kinds: onlyString, example: `"node:24"`, check: checkImage, text: &interpolated{deed: "select an image"}}
	folder       = &form{needs: "a path", kinds: onlyString, example: `"server"`, check: checkFolder, text: &interpolated{deed: "choose a folder"}}
	environment  = &form{needs: "a name", kinds: onlyString, example: `"production"`, check: checkEnvironment, text: &interpolated{deed: "name an environment", noOutputs: true}}
	cacheKey     = &form{needs: "a key", kinds: onlyString, example: `"npm-${hash:package-lock.json}"`, check: checkCacheKey, text: &interpolated{hash: true}}
	cacheRestore = &form{needs: "a prefix of keys", kinds: onlyString, example: `"npm-"`, check: checkCacheRestore, text: &interpolated{hash: true}}
	cachePath    = &form{needs: "a path", kinds: onlyString, example: `"~/.npm"`, check: checkCachePath, text: &interpolated{deed: "choose a path"}}
	envValue     = &form{needs: "a string, a whole number, true or false", kinds: anyScalar, example: `"1"`, check: checkEnvValue, text: &interpolated{}}
	envArgument  = &form{needs: "a name and a value", kinds: anyScalar, example: `"1"`, check: checkEnvArgument, text: &interpolated{}}
)

// template is text of type T. deed is what untrusted text could do with it, unless
// it is allowed.
func template(needs, deed string, untrusted bool) *form {
	if untrusted {
		deed = ""
	}
	return &form{needs: needs, kinds: onlyString, example: `"..."`, check: checkFilled, text: &interpolated{deed: deed}}
}

func checkFilled(c *checker, v *value, at place) {
	if v.text == "" {
		c.errorAt(v, "bad-value", at.label+" is empty", "give it a value, or leave it out")
	}
}

// untrustedNames are chosen by whoever pushes.
var untrustedNames = []string{"git.branch", "git.tag", "git.ref", "git.base", "git.head"}

// use is one ${…} that the file as a whole decides about, or an expression.
type use struct {
	child *node // of the top-level node that it stands in, or that node
	value *value
	file  *file
	ref   reference
	text  *interpolated
	expr  *Expr // of an expression; then ref and text are empty
}

// interpolation checks every ${…} of a text as far as no other node is needed, and
// keeps the others for later.
func (c *checker) interpolation(v *value, at place, text *interpolated) {
	c.foreignInterpolation(v)
	for _, ref := range references(v.text) {
		if v.broken {
			return
		}
		c.reference(v, at, ref, text)
	}
}

func (c *checker) reference(v *value, at place, ref reference, text *interpolated) {
	root, _, _ := strings.Cut(ref.name, ".")
	switch {
	case strings.HasPrefix(ref.name, "hash:"):
		if !text.hash {
			c.errorIn(v, ref.offset, ref.end, "unknown-interpolation", "${hash:...} has a value in cache keys only", "put it into the key of a cache")
			return
		}
		for glob := range strings.SplitSeq(strings.TrimPrefix(ref.name, "hash:"), ",") {
			c.glob(v, glob)
		}
	case root == "stack":
		c.errorIn(v, ref.offset, ref.end, "not-available", fmt.Sprintf("${%s} is part of the language but not built yet", ref.name), "remove it; the file would not do what it says")
	case slices.Contains(untrustedNames, ref.name) && text.deed != "":
		c.errorIn(v, ref.offset, ref.end, "untrusted-interpolation",
			fmt.Sprintf("${%s} is chosen by whoever pushes and may not %s", ref.name, text.deed), "use ${git.sha}, or a param with choices")
	case runNames[ref.name] != nil:
	case slices.Contains(fileRoots, root):
		c.uses = append(c.uses, use{child: c.child, value: v, file: at.node.file, ref: ref, text: text})
	default:
		c.unknownReference(v, ref)
	}
}

// fileRoots begin the names that the file itself defines.
var fileRoots = []string{"matrix", "with", "param", "outputs", "artifact"}

// foreignReferences are names of other systems.
var foreignReferences = map[string]string{
	"git.commit": "git.sha", "git.sha1": "git.sha", "github.sha": "git.sha", "pipeline.git.revision": "git.sha",
	"github.ref_name": "git.branch", "github.ref": "git.ref", "pipeline.git.branch": "git.branch", "pipeline.git.tag": "git.tag",
	"github.run_id": "run.id", "github.run_number": "run.number", "pipeline.number": "run.number", "github.repository": "repo.name",
	"inputs": "param", "parameters": "param", "params": "param", "needs": "outputs", "steps": "outputs", "env": "$",
}

func (c *checker) unknownReference(v *value, ref reference) {
	root, rest, _ := strings.Cut(ref.name, ".")
	help := "names begin with git., run., repo., param., matrix., outputs. or artifact."
	switch known, byRoot := foreignReferences[ref.name], foreignReferences[root]; {
	case known != "":
		help = fmt.Sprintf("did you mean ${%s}?", known)
	case byRoot == "$":
		help = "environment variables are the shell's: $" + rest
	case byRoot != "":
		help = fmt.Sprintf("did you mean ${%s.%s}?", byRoot, rest)
	default:
		if nearest := Nearest(ref.name, sortedKeys(runNames)); nearest != "" {
			help = fmt.Sprintf("did you mean ${%s}?", nearest)
		} else if nearest := Nearest(root, fileRoots); nearest != "" {
			help = fmt.Sprintf("did you mean ${%s.%s}?", nearest, rest)
		}
	}
	c.errorIn(v, ref.offset, ref.end, "unknown-interpolation", fmt.Sprintf("there is no ${%s}", ref.name), help)
}

// githubReference is what GitHub Actions replaces.
var githubReference = newLateRegexp(`\$\{\{ *([A-Za-z_.-]*)[^}]*\}\}`)

// foreignInterpolation reports ${{ … }}, which nobody would replace.
func (c *checker) foreignInterpolation(v *value) {
	found := githubReference.FindStringSubmatchIndex(v.text)
	if found == nil {
		return
	}
	name := v.text[found[2]:found[3]]
	root, rest, _ := strings.Cut(name, ".")
	help := "write ${" + name + "}"
	switch {
	case root == "secrets":
		help = fmt.Sprintf("secret %q sets the variable %s", rest, rest)
	case root == "env":
		help = "write $" + rest
	case foreignReferences[name] != "":
		help = "write ${" + foreignReferences[name] + "}"
	case foreignReferences[root] != "":
		help = "write ${" + foreignReferences[root] + "." + rest + "}"
	}
	c.errorIn(v, found[0], found[1], "unknown-interpolation", "${{ ... }} is not replaced here", help)
}

// commandVariables are the variables that carry what a command asks for by ${…}.
var commandVariables = map[string]string{
	"git.sha": "BUILDIT_SHA", "git.short_sha": "BUILDIT_SHORT_SHA", "git.branch": "BUILDIT_BRANCH", "git.tag": "BUILDIT_TAG", "git.ref": "BUILDIT_REF",
	"git.base": "BUILDIT_PULL_REQUEST_BASE", "git.head": "BUILDIT_PULL_REQUEST_HEAD", "run.id": "BUILDIT_RUN_ID", "run.number": "BUILDIT_RUN_NUMBER",
	"run.attempt": "BUILDIT_RUN_ATTEMPT", "pipeline.name": "BUILDIT_PIPELINE", "stage.name": "BUILDIT_STAGE", "repo.name": "BUILDIT_REPO_NAME",
	"repo.owner": "BUILDIT_REPO_OWNER", "arch": "BUILDIT_ARCH", "os": "BUILDIT_OS",
}

// commandReferences reports ${…} in a command, where it would be text of a stranger
// in the middle of code. What looks like ours and is not stays for the shell.
func (c *checker) commandReferences(v *value) {
	if found := githubReference.FindStringSubmatchIndex(v.text); found != nil {
		name := v.text[found[2]:found[3]]
		help := "use an environment variable"
		if variable := commandVariable(orElse(foreignReferences[name], name)); variable != "" {
			help = fmt.Sprintf("use \"$%s\"", variable)
		}
		c.errorIn(v, found[0], found[1], "interpolation-in-run", "commands are not interpolated: a value could contain shell code", help)
		return
	}
	for _, ref := range references(v.text) {
		root, _, _ := strings.Cut(ref.name, ".")
		known := runNames[ref.name] != nil && strings.Contains(ref.name, ".") || slices.Contains(fileRoots, root) || root == "git" || root == "run" || root == "secrets" || strings.HasPrefix(ref.name, "hash:")
		if !known {
			continue
		}
		what := map[string]string{
			"git.branch": "a branch name", "git.base": "a branch name", "git.head": "a branch name", "git.tag": "a tag name", "git.ref": "a ref",
		}[ref.name]
		if root == "param" {
			what = "a parameter"
		} else if root == "outputs" {
			what = "an output"
		}
		help := "use an environment variable"
		if variable := commandVariable(ref.name); variable != "" {
			help = fmt.Sprintf("use \"$%s\"", variable)
		}
		c.errorIn(v, ref.offset, ref.end, "interpolation-in-run", "commands are not interpolated: "+orElse(what, "a value")+" could contain shell code", help)
		v.broken = false // each one of the command is a mistake of its own
	}
}

// commandVariable is the environment variable that carries ${name}, or "".
func commandVariable(name string) string {
	if variable := commandVariables[name]; variable != "" {
		return variable
	}
	root, rest, _ := strings.Cut(name, ".")
	upper := upperName(rest)
	switch root {
	case "matrix":
		return "MATRIX_" + upper
	case "with":
		return "WITH_" + upper
	case "param":
		return "PARAM_" + upper
	case "artifact":
		return "ARTIFACT_" + upper
	case "outputs":
		return "OUTPUT_" + upper
	case "env", "secrets":
		return rest
	}
	if nearest := Nearest(name, sortedKeys(commandVariables)); nearest != "" {
		return commandVariables[nearest]
	}
	return ""
}

// upperName writes a name as part of a variable: upper case, all else underscores.
func upperName(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z' || r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, text)
}

// plainReferences replaces every ${…} by a letter, to judge the text around it.
func plainReferences(text string) string {
	var out strings.Builder
	last := 0
	for _, ref := range references(text) {
		out.WriteString(text[last:ref.offset] + "x")
		last = ref.end
	}
	return out.String() + text[last:]
}

// imageWord is an image reference: registry and path in lower case, tag, digest.
var imageWord = newLateRegexp(`^([A-Za-z0-9.-]+(:[0-9]+)?/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$`)

func checkImage(c *checker, v *value, at place) {
	plain := plainReferences(v.text)
	if githubReference.MatchString(v.text) {
		return // the interpolation is reported
	}
	if !imageWord.MatchString(plain) {
		help := `"node:24"`
		if lower := strings.ToLower(v.text); imageWord.MatchString(lower) {
			help = quote(lower)
		} else if strings.Contains(plain, "$") {
			help = "variables of the shell are not replaced here; use ${git.sha} or ${matrix.NAME}"
		}
		c.errorAt(v, "bad-image", fmt.Sprintf("%q is not an image", v.text), help)
		return
	}
	repository := plain[strings.LastIndexByte(plain, '/')+1:]
	_, tag, tagged := strings.Cut(repository, ":")
	if strings.Contains(repository, "@") || tagged && tag != "latest" || strings.HasSuffix(v.text, "}") {
		return
	}
	c.warnAt(v, "latest-tag", fmt.Sprintf("%q is another image from one day to the next", v.text), "name a version: "+quote(strings.TrimSuffix(v.text, ":latest")+":24"))
}

func checkFolder(c *checker, v *value, _ place) { c.insidePath(v) }

func checkEnvironment(c *checker, v *value, at place) {
	if !nameWord.MatchString(plainReferences(v.text)) {
		help := at.prefix + quote(orElse(slug(v.text), "production"))
		c.errorAt(v, "bad-name", "an environment name has letters, digits, dot, dash and underscore, at most 63", help)
	}
}

// circleChecksum is how CircleCI and GitHub write the hash of a file.
var circleChecksum = newLateRegexp(`\{\{ *checksum "([^"]*)" *\}\}|hashFiles\('([^']*)'\)`)

// MaxCacheKey is the longest key of a cache, in bytes, after ${…} is replaced.
const MaxCacheKey = 512

// checkCacheRestore holds a prefix of keys to the length of a key.
func checkCacheRestore(c *checker, v *value, at place) {
	checkFilled(c, v, at)
	fixed := len(v.text)
	for _, ref := range references(v.text) {
		fixed -= ref.end - ref.offset
	}
	if fixed > MaxCacheKey {
		c.errorAt(v, "limit", fmt.Sprintf("the key of a cache has at most %d bytes; this one has %d", MaxCacheKey, fixed), "put what is long into a file, and ${hash:FILE} into the key")
	}
}

func checkCacheKey(c *checker, v *value, at place) {
	checkCacheRestore(c, v, at)
	if found := circleChecksum.FindStringSubmatchIndex(v.text); found != nil {
		groups := circleChecksum.FindStringSubmatch(v.text)
		c.errorIn(v, found[0], found[1], "unknown-interpolation", "this is not replaced here", "write ${hash:"+groups[1]+groups[2]+"}")
		return
	}
	for _, ref := range references(v.text) {
		if strings.HasPrefix(ref.name, "hash:") || strings.HasPrefix(ref.name, "run.") || ref.name == "git.sha" || ref.name == "git.short_sha" {
			return
		}
	}
	c.warnAt(v, "cache-key-constant", "this key never changes, so the cache is written once and never again", `add ${hash:...} of the file that decides what is in it`)
}

func checkCachePath(c *checker, v *value, at place) {
	checkFilled(c, v, at)
	if slices.Contains(strings.Split(v.text, "/"), "..") {
		c.errorAt(v, "bad-value", ".. would leave the checkout", "begin at the root of the repository, or at ~")
	}
}

// Limits of an environment variable's value, in bytes.
const maxEnvValue = 16 << 10

func checkEnvValue(c *checker, v *value, _ place) {
	if len(v.text) > maxEnvValue {
		c.errorAt(v, "limit", fmt.Sprintf("the value of a variable has at most %d bytes; this one has %d", maxEnvValue, len(v.text)), "put it into a file of the repository")
	}
}

func checkEnvArgument(c *checker, v *value, at place) {
	if v == &at.node.args[0] {
		checkVariable(c, v, at)
		return
	}
	checkEnvValue(c, v, at)
}
