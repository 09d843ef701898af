// Package environment keeps the places that an organization deploys to: what they
// are called, which branches may be deployed there and who must agree, and what was
// deployed when.
//
// It decides nothing about runs: package pipeline holds a stage that names an
// environment at its gate, by the rules that are kept here, and records a release
// when the stage has succeeded.
package environment
