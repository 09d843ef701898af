// Package platformtest is the specification of the ports as tests: one suite a
// port, one function a promise, run over every home. A driver is done when it
// passes. It also has the clock and the ids that tests drive by hand.
package platformtest
