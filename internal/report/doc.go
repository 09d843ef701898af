// Package report reads what tests and tools leave behind: JUnit files, the output of
// `go test -json`, coverage (Go, LCOV, Cobertura), SARIF, annotations and summaries.
//
// All of it is written by commands that nobody here trusts. A Reader works on a
// stream, within limits of bytes, depth and count, and what it keeps is masked, cut
// and valid UTF-8. A file that is beyond a limit, or is not what it should be, is an
// error for people, and nothing of it is kept.
//
// Encode writes a Report as one object, and Decode reads it, with the same limits:
// it comes from the machine that ran the commands.
package report
