// Package supervisor is what happens in a task: unpack, run, ship, beat, report.
//
// runner-image makes it the first process of every task; `buildit run` runs it in
// its own process. Both talk to the platform through Control. One file a duty.
//
// What never lives here: a cloud role, the table, git, knowledge of pipelines.
package supervisor
