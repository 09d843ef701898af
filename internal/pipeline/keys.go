package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
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
//	report    acme#run#<run>#       report#<key>#<attempt, 2 digits>#
//	notice    acme#run#<run>#       notice#<code>#
//	event     acme#run#<run>#       event#<kind and key of the row>#<version, 8 digits>#
//	outbox    acme#run#<run>#       outbox#<kind>#<key>#<version, 8 digits>#
//	case      acme#cases#<repository>#<pipeline file>#  case#<digest of its name>#
//	cases     acme#cases#<repository>#<pipeline file>#  count#
//	place     acme#group#<scope>#<name>#  slot#<number, 3 digits>#
//	waits     acme#group#<scope>#<name>#  wait#<turn>#        (group.go)
//	quota     acme#quota#           quota#
//	number    acme#run-number#<repository>#  next#<pipeline file>#
//	sample    acme#sample#<repository>#      <end of the run>#<run>#

//
// Caches are a repository's, and outlive runs. A key may be longer than that of a row,
// so it is hashed, as its scope is:
//
//	cache     acme#cache#<repository>#  entry#<hash of the scope>#<name>#<version>#<hash of the key>#
//	packs     acme#cache#<repository>#  packs#<as above>#     the digests of its objects
//	public    acme#cache#<repository>#  public#<name>#
//	care      acme#cache#<repository>#  care#                 due when the entries want a look

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

func reportRow(org platform.Org, run RunID, key StageKey, attempt int) platform.RowKey {
	return runPartition(org, run).Row("report", string(key), fmt.Sprintf("%02d", attempt))
}

// casesPartition is what is known of the tests of a pipeline, over its runs.
func casesPartition(org platform.Org, repository, file string) platform.Partition {
	return org.Partition("cases", repository, file)
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

// Artifacts whose files are there stand in GSI1, by digest, and are due when their time
// is over; what then belongs to no artifact has a row until it is deleted:
//
//	dead      acme#artifact-care#  dead#<kind>#<sha256>
//	care      acme#artifact-care#  care#                 due when there may be something to delete

func listOfArtifacts(org platform.Org) platform.Partition { return org.Partition("artifacts") }

func artifactCare(org platform.Org) platform.Partition { return org.Partition("artifact-care") }

func deadRow(org platform.Org, kind, sha256 string) platform.RowKey {
	return artifactCare(org).Row("dead", kind, sha256)
}

func cachePartition(org platform.Org, repository string) platform.Partition {
	return org.Partition("cache", repository)
}

func cacheRow(kind string, org platform.Org, repository string, c Cache) platform.RowKey {
	return cachePartition(org, repository).Row(kind, shortHash(c.Scope), c.Name, c.Version, shortHash(c.Key))
}

func shortHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

// Blobs of a run.
//
//	graph     acme/graph/<digest>
//	log       acme/logs/<run>/<key>/<attempt>/…   (internal/logs)
//	object    acme/objects/<kind>/<sha256>
//	timings   acme/timings/<repository>/<pipeline file>
//	cache     acme/caches/<repository>/<sha256>

func graphBlob(org platform.Org, digest string) platform.BlobKey {
	return org.Blob("graph", digest)
}

func objectBlob(org platform.Org, kind, sha256 string) platform.BlobKey {
	return org.Blob("objects", kind, sha256)
}

func cacheBlob(org platform.Org, repository, sha256 string) platform.BlobKey {
	return org.Blob("caches", repository, sha256)
}

// attemptID names an attempt everywhere outside the table: its execution, its
// task's token. 46 characters.
func attemptID(run RunID, key StageKey, attempt int) string {
	return fmt.Sprintf("%s-%s-%02d", run, key, attempt)
}
