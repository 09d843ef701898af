package pipeline

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// The rows of a run share a partition: one query reads the run, its stages and
// its events, and one transaction changes a row together with its event. An event
// is named by the row that changed and that row's version, never by a counter of
// the run, in which all stages would meet. key is 16 hex digits (StageKey).
//
//	run       acme#run#<run>#       run#
//	stage     acme#run#<run>#       stage#<key>#
//	attempt   acme#run#<run>#       attempt#<key>#<attempt, 2 digits>#
//	edge      acme#run#<run>#       edge#<key of the need>#<key>#
//	vote      acme#run#<run>#       vote#<key, or run>#<who>#
//	artifact  acme#run#<run>#       artifact#<name>#<key>#
//	event     acme#run#<run>#       event#<kind and key of the row>#<version, 8 digits>#
//	outbox    acme#run#<run>#       outbox#<kind>#<key>#<version, 8 digits>#
//	place     acme#group#<scope>#<name>#  slot#<number, 3 digits>#
//	waits     acme#group#<scope>#<name>#  wait#<turn>#        (group.go)
//	quota     acme#quota#           quota#
//	number    acme#run-number#<repository>#  next#<pipeline file>#
//	sample    acme#sample#<repository>#      <end of the run>#<run>#

func runPartition(org platform.Org, run RunID) platform.Partition {
	return org.Partition("run", string(run))
}

func runRow(org platform.Org, run RunID) platform.RowKey {
	return runPartition(org, run).Row("run")
}

func stageRow(org platform.Org, run RunID, key StageKey) platform.RowKey {
	return runPartition(org, run).Row("stage", string(key))
}

func attemptRow(org platform.Org, run RunID, key StageKey, attempt int) platform.RowKey {
	return runPartition(org, run).Row("attempt", string(key), fmt.Sprintf("%02d", attempt))
}

func edgeRow(org platform.Org, run RunID, need, key StageKey) platform.RowKey {
	return runPartition(org, run).Row("edge", string(need), string(key))
}

func voteRow(org platform.Org, run RunID, key StageKey, principal string) platform.RowKey {
	return runPartition(org, run).Row("vote", string(key), principal)
}

func quotaRow(org platform.Org) platform.RowKey { return org.Partition("quota").Row("quota") }

func artifactRow(org platform.Org, run RunID, name string, key StageKey) platform.RowKey {
	return runPartition(org, run).Row("artifact", name, string(key))
}

// eventRow names the event of a row's change: entity is "run", or a stage's key.
func eventRow(org platform.Org, run RunID, entity string, version int64) platform.RowKey {
	return runPartition(org, run).Row("event", entity, fmt.Sprintf("%08d", version))
}

func outboxRow(org platform.Org, run RunID, kind string, key StageKey, version int64) platform.RowKey {
	return runPartition(org, run).Row("outbox", kind, string(key), fmt.Sprintf("%08d", version))
}

func numberRow(org platform.Org, repository, file string) platform.RowKey {
	return org.Partition("run-number", repository).Row("next", file)
}

// samplePartition has the samples of a repository's runs, oldest first.
func samplePartition(org platform.Org, repository string) platform.Partition {
	return org.Partition("sample", repository)
}

func sampleRow(org platform.Org, repository string, ended time.Time, run RunID) platform.RowKey {
	return samplePartition(org, repository).Row(string(platform.Stamp(ended)), string(run))
}

// listOfRuns places a run in GSI1: the runs of an organization, oldest first.
func listOfRuns(org platform.Org) platform.Partition { return org.Partition("runs") }

// dueShards spread what is due, so that no index partition is hot.
const dueShards = 16

// duePartition is one shard of what the sweeper looks for.
func duePartition(shard int) platform.Partition {
	return platform.Global("due", strconv.Itoa(shard))
}

// dueKey places a row in GSI2 under its deadline.
func dueKey(run RunID, at time.Time) platform.IndexKey {
	h := fnv.New32a()
	h.Write([]byte(run))
	return duePartition(int(h.Sum32()%dueShards)).Index(string(platform.Stamp(at)), string(run))
}

// Blobs of a run.
//
//	graph     acme/graph/<digest>
//	log       acme/logs/<run>/<key>/<attempt>/…   (internal/logs)
//	object    acme/objects/<kind>/<sha256>

func graphBlob(org platform.Org, digest string) platform.BlobKey {
	return org.Blob("graph", digest)
}

func objectBlob(org platform.Org, kind, sha256 string) platform.BlobKey {
	return org.Blob("objects", kind, sha256)
}

// attemptID names an attempt everywhere outside the table: its execution, its
// task's token. 46 characters.
func attemptID(run RunID, key StageKey, attempt int) string {
	return fmt.Sprintf("%s-%s-%02d", run, key, attempt)
}
