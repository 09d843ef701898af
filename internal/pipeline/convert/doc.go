// Package convert turns the common part of GitHub Actions workflows and CircleCI
// configurations into pipeline files.
//
// What it writes does what the workflow did, or says that it does not: whatever
// could not be carried over is a Loss with file, line, column, what, why and what to
// do, and a comment at its place in the output. What is carried with a difference
// that a reader should know is a Loss with Kept set.
//
// Text of a workflow never becomes part of a command. A ${{ … }} in a command turns
// into the environment variable that holds its value, quoted as its place needs.
//
// The output is loaded with the language package; a node that the language refuses
// (a need of a job that is not there, an exclude that matches nothing) is taken out
// and listed like all other losses, so that what is written is always valid.
//
//	yaml.go        positions and limits of foreign YAML
//	report.go      losses, and where their comments go
//	settle.go      the loop that ends in a file without errors
//	expression.go  ${{ … }}: read, then said as a `when`, as text of a field, as shell
//	shell.go       commands: variables in the place of expressions
//	github*.go     workflows of GitHub Actions
//	circle*.go     configurations of CircleCI
//
// What never lives here: files written, the network, running anything.
package convert
