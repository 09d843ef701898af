// Package memory is the home that keeps nothing: every port of platform, in this
// process alone. `buildit run`, tests and the simulation live in it.
package memory
