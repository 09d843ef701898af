// Package engine is the flow port of the homes that have no Step Functions: it
// runs executions of package asl, makes the calls that they ask for, wakes them
// in time, and stores them.
//
// Every execution that has not ended is in memory; a Store keeps what must outlive
// the process. One step is: take the execution's lock, tell it what happened, let
// it advance until every branch waits, store it, then make the calls that it gave
// out. What is acknowledged to somebody outside (Start, Succeed, Fail, Stop) and
// what precedes a call is stored durably, anything else relaxed, and Pass and
// Choice are never stored alone.
//
// After a restart an execution goes on where it was stored. A call that was under
// way is made again with the same token; one that was under way maxCalls times
// fails as FunctionPanic, since it may be what ends the process.
package engine
