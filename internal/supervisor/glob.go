package supervisor

import (
	"fmt"
	"regexp"
	"strings"
)

// glob matches paths below the workspace: * within a segment, ** across, ?, [a-z],
// {a,b} (pipelines.md 2.2). A pattern that names a folder means all below it.
type glob struct {
	text string
	expr *regexp.Regexp
}

func parseGlob(text string) (glob, error) {
	clean := strings.TrimSuffix(strings.TrimPrefix(text, "./"), "/")
	var b strings.Builder
	b.WriteString("^")
	braces := 0
	for i := 0; i < len(clean); i++ {
		switch c := clean[i]; {
		case strings.HasPrefix(clean[i:], "**/"):
			b.WriteString("(?:.*/)?")
			i += 2
		case strings.HasPrefix(clean[i:], "**"):
			b.WriteString(".*")
			i++
		case c == '*':
			b.WriteString("[^/]*")
		case c == '?':
			b.WriteString("[^/]")
		case c == '[':
			end := strings.IndexByte(clean[i+1:], ']')
			if end < 1 {
				return glob{}, fmt.Errorf("the pattern %q has a [ without its ]", text)
			}
			class := clean[i+1 : i+1+end]
			b.WriteString("[" + strings.NewReplacer("!", "^", `\`, `\\`).Replace(class[:1]) + strings.ReplaceAll(class[1:], `\`, `\\`) + "]")
			i += end + 1
		case c == '{':
			b.WriteString("(?:")
			braces++
		case c == '}' && braces > 0:
			b.WriteString(")")
			braces--
		case c == ',' && braces > 0:
			b.WriteString("|")
		default:
			b.WriteString(regexp.QuoteMeta(string([]byte{c})))
		}
	}
	if braces > 0 {
		return glob{}, fmt.Errorf("the pattern %q has a { without its }", text)
	}
	b.WriteString("(?:/.*)?$")
	expr, err := regexp.Compile(b.String())
	if err != nil {
		return glob{}, fmt.Errorf("the pattern %q is not valid: %w", text, err)
	}
	return glob{clean, expr}, nil
}

// match tells whether path, or a folder above it, is meant. The repository's own
// .git is meant only where it is named.
func (g glob) match(path string) bool {
	if (path == ".git" || strings.HasPrefix(path, ".git/")) && !strings.HasPrefix(g.text, ".git") {
		return false
	}
	return g.text == "." || g.text == "" || g.expr.MatchString(path)
}

// base is the folder above everything that can match, "." for the workspace.
func (g glob) base() string {
	fixed := g.text
	if i := strings.IndexAny(fixed, "*?[{"); i >= 0 {
		fixed = fixed[:i]
		if fixed = fixed[:strings.LastIndexByte(fixed, '/')+1]; fixed == "" {
			return "."
		}
		return strings.TrimSuffix(fixed, "/")
	}
	if fixed == "" {
		return "."
	}
	return fixed
}

func parseGlobs(texts []string) ([]glob, error) {
	var list []glob
	for _, text := range texts {
		g, err := parseGlob(text)
		if err != nil {
			return nil, err
		}
		list = append(list, g)
	}
	return list, nil
}

func matchAny(globs []glob, path string) bool {
	for _, g := range globs {
		if g.match(path) {
			return true
		}
	}
	return false
}
