package repository

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/repository/git"
)

// The rows of a repository share a partition:
//
//	repository  acme#repository#<id>#   repository#          GSI1 acme#repositories# <name>#
//	                                                         GSI2 -#repository-due#  <deadline>#
//	hook health acme#repository#<id>#   health#
//	ref         acme#repository#<id>#   ref#<full name>#
//	delivery    acme#repository#<id>#   delivery#<id>#       GSI1 acme#deliveries#<repository># <stamp>#<id>#
//	scan        acme#repository#<id>#   scan#
//	enrolled    acme#repository#<id>#   enrolled#
//	schedule    acme#repository#<id>#   schedule#<key>#
//	listens     acme#repository#<id>#   listens#<key>#       (one for each listener of its own)
//	source      acme#repository#<id>#   source#<commit>#<depth>#
//	event       acme#repository#<id>#   event#repository#<version, 8 digits>#
//
// and outside it
//
//	name        acme#repository-name#   name#<name>#
//	hook        -#hook#                 hook#<id>#
//	listener    acme#upstream#<name of the upstream repository>#  listener#<pipeline>#<key>#
//	heard       acme#repository#<id>#   heard#<upstream run>#<file>#
func rows(org platform.Org, id string) platform.Partition { return org.Partition("repository", id) }

func repositoryRow(org platform.Org, id string) platform.RowKey {
	return rows(org, id).Row("repository")
}

func healthRow(org platform.Org, id string) platform.RowKey { return rows(org, id).Row("health") }

func refRowKey(org platform.Org, id string, ref git.Ref) platform.RowKey {
	return rows(org, id).Row("ref", string(ref))
}

func deliveryRow(org platform.Org, id, delivery string) platform.RowKey {
	return rows(org, id).Row("delivery", delivery)
}

func scanRow(org platform.Org, id string) platform.RowKey { return rows(org, id).Row("scan") }

func sourceRow(org platform.Org, id string, commit git.CommitSHA, depth int) platform.RowKey {
	return rows(org, id).Row("source", string(commit), fmt.Sprint(depth))
}

func eventRow(org platform.Org, id string, version int64) platform.RowKey {
	return rows(org, id).Row("event", "repository", fmt.Sprintf("%08d", version))
}

func enrolledRow(org platform.Org, id string) platform.RowKey {
	return rows(org, id).Row("enrolled")
}

func scheduleRow(org platform.Org, id, key string) platform.RowKey {
	return rows(org, id).Row("schedule", key)
}

func listensRow(org platform.Org, id, key string) platform.RowKey {
	return rows(org, id).Row("listens", key)
}

// upstreamOf holds who listens to the pipelines of a repository, by its name, which
// may be connected later.
func upstreamOf(org platform.Org, repository string) platform.Partition {
	return org.Partition("upstream", repository)
}

func listenerRow(org platform.Org, repository, name, key string) platform.RowKey {
	return upstreamOf(org, repository).Row("listener", name, key)
}

func heardRow(org platform.Org, id, run, file string) platform.RowKey {
	return rows(org, id).Row("heard", run, file)
}

func nameRow(org platform.Org, name string) platform.RowKey {
	return org.Partition("repository-name").Row("name", name)
}

func listOf(org platform.Org) platform.Partition { return org.Partition("repositories") }

func deliveriesOf(org platform.Org, id string) platform.Partition {
	return org.Partition("deliveries", id)
}

// hookRow answers whose a hook is, before an organization is known.
func hookRow(id string) platform.RowKey { return platform.Global("hook").Row("hook", id) }

// due lists repositories by when they are to be looked at.
func due() platform.Partition { return platform.Global("repository-due") }

func dueAt(t time.Time) platform.IndexKey { return due().Index(string(platform.Stamp(t))) }

// Key parts of blobs: platform.Org.Blob(parts[0], parts[1:]...).

func sourceParts(id string, commit git.CommitSHA, depth int) []string {
	return []string{"source", id, fmt.Sprintf("%s-%d", commit, depth)}
}

func configParts(id string, commit git.CommitSHA) []string {
	return []string{"config", id, string(commit)}
}

func deliveryBlob(org platform.Org, id, delivery string) platform.BlobKey {
	return org.Blob("delivery", id, delivery)
}

func scanBlob(org platform.Org, id string, digest string) platform.BlobKey {
	return org.Blob("scan", id, digest)
}

func blob(org platform.Org, parts []string) platform.BlobKey {
	return org.Blob(parts[0], parts[1:]...)
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
