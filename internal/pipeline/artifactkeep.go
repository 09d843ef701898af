package pipeline

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"strconv"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

// How long files that a stage has left behind are kept.
const (
	artifactKept      = 30 * 24 * time.Hour // where the stage does not say
	artifactUntrusted = 7 * 24 * time.Hour  // of a stranger's commit, at most
	// deadKept is how long an object that belongs to no artifact any more stays: longer
	// than the longest attempt, which may have found it there and not sent its own.
	deadKept  = 7 * 24 * time.Hour
	deadEvery = 24 * time.Hour // between two looks for such objects
)

// Expired tells whether the time of an artifact's files is over. A value has no end.
func (a Artifact) Expired(now time.Time) bool { return !a.Expires.IsZero() && !now.Before(a.Expires) }

// artifactPut makes the row of an artifact that a stage has left behind: with files it
// is listed by their digest, and due when their time is over.
func (r ref) artifactPut(node int, a Artifact) platform.Put {
	put := platform.Put{Key: artifactRow(r.org, r.run, a.Name, a.Key)}
	if a.SHA256 == "" {
		put.Item = a.item()
		return put
	}
	kept := time.Duration(0)
	for _, use := range r.graph.spec(node).Artifacts {
		if use.Name == a.Name {
			kept = use.Expire
		}
	}
	kept = orDefault(kept, artifactKept)
	if r.graph.Trigger.Trust != "trusted" {
		kept = min(kept, artifactUntrusted)
	}
	a.Expires = a.Created.Add(kept)
	put.Item = a.item().
		InList(listOfArtifacts(r.org).Index(a.SHA256, string(r.run), a.Name, string(a.Key))).
		DueAt(artifactDue(r.org, a.Expires))
	return put
}

func artifactDuePartition(shard int) platform.Partition {
	return platform.Global("due", "artifact", strconv.Itoa(shard))
}

func artifactDue(org platform.Org, at time.Time) platform.IndexKey {
	h := fnv.New32a()
	h.Write([]byte(org.ID()))
	return artifactDuePartition(int(h.Sum32()%dueShards)).Index(string(platform.Stamp(at)), org.ID())
}

// KeepArtifacts ends the artifacts whose time is over, and deletes the objects that
// have belonged to none for a week. Every step may be done twice. Errors are joined;
// what failed is due again.
func (s *Service) KeepArtifacts(ctx context.Context) error {
	var errs []error
	for shard := range dueShards {
		partition := artifactDuePartition(shard)
		page, err := s.home.Table.Query(ctx, platform.Query{
			Partition: partition, Index: platform.Due,
			Until: partition.Index(string(platform.Stamp(s.home.Clock.Now()))).SK(),
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("which artifacts are due: %w", err))
			continue
		}
		for _, row := range page.Rows {
			parents := row.Key.Parents()
			org := platform.System(parents[0], "artifact keeper")
			if parents[1] == "run" {
				err = s.endArtifact(ctx, org, row.Key)
			} else {
				err = s.deleteDead(ctx, org, row.Item)
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// endArtifact takes an artifact out of the list of those whose files are kept, after it
// has made the organization due for a look at what belongs to none now.
func (s *Service) endArtifact(ctx context.Context, org platform.Org, row platform.RowKey) error {
	at := s.home.Clock.Now()
	_, err := s.home.Table.Write(ctx, platform.Put{
		Key: artifactCare(org).Row("care"), If: platform.NoRow,
		Item: platform.Item{"due": platform.Stamp(at)}.DueAt(artifactDue(org, at)),
	})
	if err != nil && !lost(err) {
		return err
	}
	_, err = s.home.Table.Write(ctx, platform.Update{Key: row, If: platform.RowIs, Remove: []string{
		platform.ListPartition, platform.ListSort, platform.DuePartition, platform.DueSort,
	}})
	if lost(err) {
		return nil
	}
	return err
}

// deleteDead marks, from the manifests of all artifacts that are kept, which objects
// are alive. Of the others each gets a row that says since when; after a week the
// object goes, and then its row.
func (s *Service) deleteDead(ctx context.Context, org platform.Org, care platform.Item) error {
	alive, err := s.aliveObjects(ctx, org)
	if err != nil {
		return err
	}
	dead := 0
	for _, kind := range []string{"artifact", "blob"} {
		left, err := s.deleteDeadOf(ctx, org, kind, alive)
		if err != nil {
			return err
		}
		dead += left
	}
	key, due := artifactCare(org).Row("care"), platform.Equal{Attribute: "due", Value: care["due"]}
	var next platform.Action = platform.Delete{Key: key, If: due}
	if dead > 0 {
		at := s.home.Clock.Now().Add(deadEvery)
		next = platform.Put{Key: key, If: due, Item: platform.Item{"due": platform.Stamp(at)}.DueAt(artifactDue(org, at))}
	}
	_, err = s.home.Table.Write(ctx, next)
	if lost(err) {
		return nil
	}
	return err
}

// aliveObjects are the manifests and blobs of the artifacts that are kept, as
// "kind/digest".
func (s *Service) aliveObjects(ctx context.Context, org platform.Org) (map[string]bool, error) {
	alive := make(map[string]bool)
	q := platform.Query{Partition: listOfArtifacts(org), Index: platform.List1}
	for {
		page, err := s.home.Table.Query(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, row := range page.Rows {
			a := artifactOf(row.Item)
			if alive["artifact/"+a.SHA256] {
				continue
			}
			alive["artifact/"+a.SHA256] = true
			if err := s.markBlobs(ctx, org, a, alive); err != nil {
				return nil, fmt.Errorf("artifact %s of %s: %w", a.Name, row.Key.Partition().PK(), err)
			}
		}
		if q.Cursor = page.Cursor; q.Cursor == "" {
			return alive, nil
		}
	}
}

func (s *Service) markBlobs(ctx context.Context, org platform.Org, a Artifact, alive map[string]bool) error {
	body, _, err := s.home.Blobs.Open(ctx, objectBlob(org, "artifact", a.SHA256), 0)
	if errors.Is(err, platform.ErrNotFound) {
		return nil // somebody has removed it, and it names nothing any more
	}
	if err != nil {
		return err
	}
	form, err := io.ReadAll(body)
	if err = errors.Join(err, body.Close()); err != nil {
		return err
	}
	manifest, err := supervisor.ParseManifest(form)
	if err != nil {
		return err
	}
	for _, blob := range manifest.Blobs() {
		alive["blob/"+blob.SHA256] = true
	}
	return nil
}

// deleteDeadOf goes over the objects of one kind, and answers how many of the dead are
// left.
func (s *Service) deleteDeadOf(ctx context.Context, org platform.Org, kind string, alive map[string]bool) (left int, err error) {
	since, err := s.deadSince(ctx, org, kind)
	if err != nil {
		return 0, err
	}
	under, now := org.Blob("objects", kind).Under(), s.home.Clock.Now()
	for after := (platform.BlobKey{}); ; {
		page, err := s.home.Blobs.List(ctx, under, after, listBlobs)
		if err != nil {
			return left, err
		}
		for _, info := range page {
			digest := info.Key.String()[len(under.String()):]
			at, marked := since[digest]
			delete(since, digest)
			switch {
			case alive[kind+"/"+digest]:
				if marked {
					err = s.unmark(ctx, org, kind, digest)
				}
			case !marked:
				left++
				_, err = s.home.Table.Write(platform.Relaxed(ctx), platform.Put{
					Key: deadRow(org, kind, digest), Item: platform.Item{"since": platform.Stamp(now)}, If: platform.NoRow,
				})
			case now.Sub(at) < deadKept:
				left++
			default:
				err = s.bury(ctx, org, kind, digest, info.Key)
			}
			if err != nil && !lost(err) {
				return left, err
			}
		}
		if len(page) < listBlobs {
			break
		}
		after = page[len(page)-1].Key
	}
	for digest := range since { // it has gone, and only its row was left
		if err := s.unmark(ctx, org, kind, digest); err != nil {
			return left, err
		}
	}
	return left, nil
}

// deadSince are the objects of a kind that belong to no artifact, with the moment when
// that was seen first.
func (s *Service) deadSince(ctx context.Context, org platform.Org, kind string) (map[string]time.Time, error) {
	since := make(map[string]time.Time)
	q := platform.Query{Partition: artifactCare(org)}
	q.Prefix = q.Partition.Rows("dead", kind)
	for {
		page, err := s.home.Table.Query(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, row := range page.Rows {
			parts := row.Key.Parts()
			since[parts[len(parts)-1]] = row.Item.Time("since")
		}
		if q.Cursor = page.Cursor; q.Cursor == "" {
			return since, nil
		}
	}
}

// bury deletes a dead object. The row says so first: who finds the object there
// meanwhile is told to come again, and then sends it anew.
func (s *Service) bury(ctx context.Context, org platform.Org, kind, digest string, key platform.BlobKey) error {
	row := deadRow(org, kind, digest)
	_, err := s.home.Table.Write(ctx, platform.Update{Key: row, Set: platform.Item{"going": platform.Bool(true)}, If: platform.RowIs})
	if err == nil {
		err = s.removeBlob(ctx, key)
	}
	if err == nil {
		_, err = s.home.Table.Write(ctx, platform.Delete{Key: row})
	}
	return err
}

func (s *Service) unmark(ctx context.Context, org platform.Org, kind, digest string) error {
	_, err := s.home.Table.Write(ctx, platform.Delete{Key: deadRow(org, kind, digest)})
	return err
}

// spare takes an object that an attempt is about to count on from the dead: it gets a
// week more, in which the attempt makes its artifact.
func (s *Service) spare(ctx context.Context, org platform.Org, object supervisor.Object) error {
	if object.Kind != "artifact" && object.Kind != "blob" {
		return nil
	}
	row := deadRow(org, object.Kind, object.SHA256)
	_, err := s.home.Table.Get(ctx, row)
	if errors.Is(err, platform.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = s.home.Table.Write(ctx, platform.Delete{Key: row, If: platform.Absent{Attribute: "going"}})
	if lost(err) {
		return &problem.Error{Kind: problem.Unavailable, Detail: "The object is being deleted; ask again.", RetryAfter: time.Second}
	}
	return err
}
