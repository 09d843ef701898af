package language

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// glob is a compiled glob: `*` within a segment, `**` across, `?`, `[a-z]`,
// `{a,b}`. RE2 runs it, so that no pattern can make matching slow.
type glob struct{ *regexp.Regexp }

// compileGlob reads a glob. The error says what is wrong with it.
func compileGlob(text string) (glob, error) {
	if text == "" {
		return glob{}, errors.New("an empty glob matches nothing")
	}
	var re strings.Builder
	re.WriteString(`(?s)^`)
	depth := 0
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case strings.HasPrefix(text[i:], "**/"):
			re.WriteString(`(?:.*/)?`)
			i += 3
			continue
		case strings.HasPrefix(text[i:], "**"):
			re.WriteString(`.*`)
			i += 2
			continue
		case c == '*':
			re.WriteString(`[^/]*`)
		case c == '?':
			re.WriteString(`[^/]`)
		case c == '[':
			end, err := globClass(&re, text, i)
			if err != nil {
				return glob{}, err
			}
			i = end
			continue
		case c == '{':
			depth++
			re.WriteString(`(?:`)
		case c == '}' && depth > 0:
			depth--
			re.WriteString(`)`)
		case c == ',' && depth > 0:
			re.WriteString(`|`)
		default:
			re.WriteString(regexp.QuoteMeta(text[i : i+1]))
		}
		i++
	}
	if depth > 0 {
		return glob{}, errors.New("a { is never closed")
	}
	re.WriteString(`$`)
	compiled, err := regexp.Compile(re.String())
	if err != nil {
		return glob{}, fmt.Errorf("it cannot be read (%v)", err)
	}
	return glob{compiled}, nil
}

// globClass translates the class that begins at text[i] and answers where it ends.
func globClass(re *strings.Builder, text string, i int) (int, error) {
	end := strings.IndexByte(text[i+1:], ']')
	if end <= 0 {
		return 0, errors.New("a [ is never closed")
	}
	class := text[i+1 : i+1+end]
	re.WriteByte('[')
	if class[0] == '!' || class[0] == '^' {
		re.WriteString(`^/`)
		class = class[1:]
	}
	re.WriteString(strings.NewReplacer(`\`, `\\`, `[`, `\[`, `^`, `\^`, `&`, `\&`).Replace(class))
	re.WriteByte(']')
	return i + 1 + end + 1, nil
}

// matchGlob tells whether the glob matches the whole text; a glob that cannot be
// read matches nothing (Load has refused it).
func matchGlob(pattern, text string) bool {
	if !strings.ContainsAny(pattern, "*?[{") {
		return pattern == text
	}
	g, err := compileGlob(pattern)
	return err == nil && g.MatchString(text)
}

// matchPatterns applies patterns in order: `!` in front takes back, and the last
// that matches decides. A list that begins with `!` takes back from everything.
func matchPatterns(patterns []string, text string) bool {
	matched := len(patterns) > 0 && strings.HasPrefix(patterns[0], "!")
	for _, p := range patterns {
		negated := strings.HasPrefix(p, "!")
		if matchGlob(strings.TrimPrefix(p, "!"), text) {
			matched = !negated
		}
	}
	return matched
}

// matchFiles tells whether one of the files matches the globs. Each is compiled once.
func matchFiles(globs, files []string) bool {
	return countFiles(globs, files) > 0
}

// countFiles counts the files that match the globs, of which those with `!` in
// front take back.
func countFiles(globs, files []string) int {
	type entry struct {
		glob
		negated bool
	}
	var compiled []entry
	for _, text := range globs {
		g, err := compileGlob(strings.TrimPrefix(text, "!"))
		if err != nil {
			continue // Load has refused it
		}
		compiled = append(compiled, entry{g, strings.HasPrefix(text, "!")})
	}
	count := 0
	for _, file := range files {
		matched := len(compiled) > 0 && compiled[0].negated
		for _, g := range compiled {
			if g.MatchString(file) {
				matched = !g.negated
			}
		}
		if matched {
			count++
		}
	}
	return count
}
