// Package language reads .buildit.kdl.
//
// Load turns a file, and what it includes, into a Pipeline and reports every
// mistake at once, with line, column and a suggestion. Decide evaluates the `when`
// of a stage with what is known of a run; Expand replaces ${…}; Cells makes the
// cells of a matrix; Matches says whether an event makes a run.
//
// The KDL library gives no positions and loses some of what was written, so a
// scanner of our own stands beside it, and the two trees must agree. Load goes
// through these steps; each may report, and none stops at the first mistake:
//
//	text     characters.go, scan.go, literal.go: nodes with the place of each part;
//	         foreignsyntax.go knows KDL v2, YAML and other habits
//	tree     library.go: the library reads the same
//	shape    rules.go and stagerules.go are the language as tables, forms.go and
//	         interpolate.go what values look like; check.go compares, foreign.go
//	         and suggest.go help
//	model    build.go, buildstage.go, merge.go: the typed Pipeline
//	meaning  meaning.go, graph.go, uses.go, reach.go, warnings.go: names that refer
//	         to each other, cycles, what can never run
//
// A mistake that follows from another one is not reported: values and nodes that
// were reported are broken or partial, and later steps leave them alone.
//
// What never lives here: running anything, rows, git.
package language
