// Package localrun runs the pipeline of a working tree in this process: the same
// engine and the same state machines as a server, on the memory home, with
// supervisors as goroutines and no HTTP.
//
// Everything that it writes into the tree lies under .buildit/run, which has a lock
// and a .gitignore of its own.
package localrun
