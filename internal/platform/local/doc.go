// Package local is the home of one machine, durable in one data folder: rows,
// queues, timers and executions in a SQLite file, objects as files beside it.
//
// db.go opens the file and writer.go is the one connection that writes to it. Each
// port is one file, named as in package memory; its tables are a list beside its
// code that db.go puts into the schema.
package local
