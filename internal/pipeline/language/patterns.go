package language

// MatchBranch tells whether a name of a branch or a tag fits patterns; the last one
// that fits decides, and `!` in front of it takes back. No pattern fits nothing.
func MatchBranch(patterns []string, name string) bool { return matchPatterns(patterns, name) }
