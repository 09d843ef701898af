// Package repository connects git repositories and turns what happens to them into
// triggers.
//
// A delivery is a hint. Intake proves it, stores it and answers; behind the queue
// the remote is asked for its present heads, and the row of a ref (head,
// generation) moves by conditional write, so that of many finders of one head one
// wins and all of them make the same triggers. A reconciler asks without a hint.
// A ref's row remembers up to which generation its triggers were made, so that
// what a crash cut off is made by whoever looks next.
//
// Connecting proposes: the scan says what a repository holds, and pipelines run
// once the person who connects it, or a later confirmation, says so.
//
// Elsewhere: the providers' dialects (forge), git itself (repository/git), what a
// tree holds (repository/scan), what a trigger starts (pipeline).
package repository
