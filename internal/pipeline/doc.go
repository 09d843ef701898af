// Package pipeline runs the stages of a commit.
//
// Start makes a Run of a Trigger, whose id is derived from trigger, commit,
// generation of the ref and attempt: a delivery that comes twice makes one run, a
// branch that comes back to an old commit makes another. From then on
// pipeline.asl.json owns the run and calls functions of this package, each of
// which may be called twice.
//
// A stage starts when its last need has ended. Whoever settles that need decides
// it, by one conditional write; an outbox row in the transaction that ended the
// need repeats the decision, so there is no scheduler to lose it.
//
// Elsewhere: the language (pipeline/language), running commands (supervisor),
// reading git (repository).
package pipeline
