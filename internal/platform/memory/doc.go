// Package memory is the home that keeps nothing: every port in the memory of one
// process, for `buildit run`, for tests and for the simulation. It passes the
// suite of platformtest, so it is a home and not a mock.
//
// One file a port, named as in package local, with the same methods in the same
// order. home.go puts them together.
package memory
