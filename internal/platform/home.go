package platform

// Home is the nine ports of one place that BuildIt runs in.
type Home struct {
	Table  Table
	Feed   Feed
	Blobs  Blobs
	Flow   Flow
	Tasks  Tasks
	Queues Queues
	Push   Push
	Keys   Keys
	Timers Timers
	Clock  Clock
	IDs    IDs
}
