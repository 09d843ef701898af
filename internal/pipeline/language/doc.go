// Package language reads .buildit.kdl.
//
// Load turns a file, and what it includes, into a Pipeline and reports every
// mistake at once, with line, column and a suggestion. Decide evaluates the `when`
// of a stage with what is known of a run; Expand replaces ${…}.
//
// The KDL library gives no positions and loses some of what was written, so a
// scanner of our own stands beside it, and the two trees must agree.
//
// What never lives here: running anything, rows, git.
package language
