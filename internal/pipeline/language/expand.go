package language

import (
	"fmt"
	"strconv"
	"strings"
)

// reference is one ${…} of a text that is ours and not the shell's.
type reference struct {
	name        string // "git.sha", "hash:go.sum"
	offset, end int    // in the text, of the whole ${…}
}

// references are the ${…} of text that we replace: names with a dot, arch, os and
// hash:…. All others stay for the shell, and so does what stands after $${.
func references(text string) []reference {
	var found []reference
	for i := 0; i+1 < len(text); i++ {
		if text[i] != '$' || text[i+1] != '{' {
			continue
		}
		if i > 0 && text[i-1] == '$' {
			continue // $${ writes ${
		}
		length := strings.IndexByte(text[i:], '}')
		if length < 0 {
			break
		}
		if name := text[i+2 : i+length]; isOurs(name) {
			found = append(found, reference{name, i, i + length + 1})
			i += length
		}
	}
	return found
}

// isOurs tells whether ${name} is ours to replace.
func isOurs(name string) bool {
	if strings.HasPrefix(name, "hash:") || name == "arch" || name == "os" {
		return true
	}
	dots := 0
	for i := 0; i < len(name); i++ {
		switch {
		case name[i] == '.' && i > 0 && i < len(name)-1:
			dots++
		case !isNameByte(name[i]) || name[i] == '.':
			return false
		}
	}
	return dots > 0
}

// Expand replaces ${…} of text, once: what comes out is not read again. An error
// names what has no value.
func Expand(text string, facts Facts) (string, error) {
	var out strings.Builder
	last := 0
	for _, ref := range references(text) {
		value, err := facts.reference(ref.name)
		if err != nil {
			return "", err
		}
		out.WriteString(unescape(text[last:ref.offset]))
		out.WriteString(value)
		last = ref.end
	}
	out.WriteString(unescape(text[last:]))
	return out.String(), nil
}

// KeyPart is a piece of a cache's key: text, or the patterns of the files whose
// hash stands there.
type KeyPart struct {
	Text string
	Hash []string
}

// ExpandKey is Expand for the key of a cache. Where ${hash:…} stands it has a part
// of its own: only who has the files can put the value there.
func ExpandKey(text string, facts Facts) ([]KeyPart, error) {
	var parts []KeyPart
	last := 0
	for _, ref := range references(text) {
		globs, ok := strings.CutPrefix(ref.name, "hash:")
		if !ok {
			continue
		}
		before, err := Expand(text[last:ref.offset], facts)
		if err != nil {
			return nil, err
		}
		parts = append(parts, KeyPart{Text: before}, KeyPart{Hash: strings.Split(globs, ",")})
		last = ref.end
	}
	rest, err := Expand(text[last:], facts)
	return append(parts, KeyPart{Text: rest}), err
}

// unescape turns $${ into ${.
func unescape(text string) string { return strings.ReplaceAll(text, "$${", "${") }

// reference is the value of ${name}.
func (f *Facts) reference(name string) (string, error) {
	if globs, ok := strings.CutPrefix(name, "hash:"); ok {
		if f.Hash == nil {
			return "", fmt.Errorf("${%s} has a value in cache keys only", name)
		}
		return f.Hash(strings.Split(globs, ","))
	}
	if value, ok := runNames[name]; ok {
		return value(f), nil
	}
	root, rest, _ := strings.Cut(name, ".")
	var from map[string]string
	switch root {
	case "matrix":
		return f.Matrix[rest], nil // an extra key that this cell lacks is empty
	case "with":
		from = f.With
	case "param":
		from = f.Params
	case "artifact":
		from = f.Artifacts
	case "outputs":
		stage, output := splitOutput(rest)
		if _, final := f.Statuses[stage]; !final {
			return "", fmt.Errorf("${%s} has no value yet: stage %q has not ended", name, stage)
		}
		return f.Outputs[stage][output], nil
	}
	value, ok := from[rest]
	if !ok {
		return "", fmt.Errorf("there is no value for ${%s}", name)
	}
	return value, nil
}

// runNames are the names that do not depend on the file.
var runNames = map[string]func(*Facts) string{
	"git.sha":       func(f *Facts) string { return f.SHA },
	"git.short_sha": func(f *Facts) string { return f.ShortSHA },
	"git.branch":    func(f *Facts) string { return f.Branch },
	"git.tag":       func(f *Facts) string { return f.Tag },
	"git.ref":       func(f *Facts) string { return f.Ref },
	"git.base":      func(f *Facts) string { return f.Base },
	"git.head":      func(f *Facts) string { return f.Head },
	"run.id":        func(f *Facts) string { return f.RunID },
	"run.number":    func(f *Facts) string { return strconv.Itoa(f.RunNumber) },
	"run.attempt":   func(f *Facts) string { return strconv.Itoa(f.RunAttempt) },
	"pipeline.name": func(f *Facts) string { return f.Pipeline },
	"stage.name":    func(f *Facts) string { return f.Stage },
	"repo.name":     func(f *Facts) string { return f.RepoName },
	"repo.owner":    func(f *Facts) string { return f.RepoOwner },
	"org.registry":  func(f *Facts) string { return f.OrgRegistry },
	"arch":          func(f *Facts) string { return f.Arch },
	"os":            func(f *Facts) string { return f.OS },
}
