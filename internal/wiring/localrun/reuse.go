package localrun

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/pipeline/workspace"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

// Successes lie in .buildit/run/reuse, a file for each: named by stage and digest
// of its inputs, with the result and the log. A file appears whole or not at all, and
// begins with its own digest: one that is damaged is removed, and the stage runs.

// record is a success.
type record struct {
	Run    pipeline.RunID    `json:"run"`
	At     time.Time         `json:"at"`
	Result supervisor.Result `json:"result"`
}

// past is what a run knows of those before it, and notes for those after it.
type past struct {
	tree  func(component string) (workspace.Sum, error) // the content of the tree, once the snapshot is there
	trees sync.Map                                      // by component: what tree has found

	repair sync.Once

	mu   sync.Mutex
	made []success
}

// success is an attempt of this run that may stand for later ones.
type success struct {
	job    supervisor.Job
	result supervisor.Result
}

// reasonUnchanged is the reason of a stage that succeeded in an earlier run.
const reasonUnchanged = "unchanged"

// keptLogs bounds the log of a success that is kept, in bytes; a stage that prints
// more runs every time.
const keptLogs = 64 << 20

func (p *past) note(job supervisor.Job, result supervisor.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.made = append(p.made, success{job, result})
}

// earlier answers what stands for running a job (pipeline.Earlier).
func (s *supervisors) earlier(ctx context.Context, job supervisor.Job, given bool) (pipeline.Made, bool) {
	if made, has := s.config.Given[pipeline.StageKey(job.StageKey)]; has && given {
		return made, true
	}
	if s.config.InPlace || !given && !s.config.Reuse {
		return pipeline.Made{}, false
	}
	in, err := s.inputsOf(job)
	if err != nil {
		s.config.Log.WarnContext(ctx, "nothing is reused", "stage", job.Stage, "err", err)
		return pipeline.Made{}, false
	}
	path, err := s.recordPath(in)
	if err != nil {
		return pipeline.Made{}, false
	}
	r, log, err := readRecord(path)
	if err == nil {
		err = s.objectsAreThere(r)
	}
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			s.config.Log.WarnContext(ctx, "an earlier result is damaged; the stage runs", "stage", job.Stage, "err", err)
			s.discard(path)
			s.past.repair.Do(func() { s.repairObjects(ctx) })
		}
		return pipeline.Made{}, false
	}
	now := time.Now()
	if err := os.Chtimes(path, now, now); err != nil { // it was of use: sweep keeps it
		s.config.Log.WarnContext(ctx, "an earlier result could not be marked", "stage", job.Stage, "err", err)
	}
	s.logs.stand(fmt.Sprintf("%s-%d.log", job.StageKey, 1), log)
	return pipeline.Made{
		Status: pipeline.StageSucceeded, Reason: reasonUnchanged, Result: r.Result,
		Why: fmt.Sprintf("as in run %s of %s", r.Run[:12], r.At.Local().Format(time.DateTime)),
	}, true
}

func (s *supervisors) recordPath(in inputs) (string, error) {
	digest, err := in.digest()
	return filepath.Join(s.data.dir, "reuse", in.StageKey+"-"+digest), err
}

// discard removes what is damaged; if that fails it is damaged next time too.
func (s *supervisors) discard(path string) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.config.Log.Warn("cannot be removed", "path", path, "err", err)
	}
}

var errDamaged = errors.New("its bytes have another digest")

// readRecord reads a success and its log.
func readRecord(path string) (record, []byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return record{}, nil, err
	}
	digest, rest, _ := bytes.Cut(text, []byte{'\n'})
	if sum := sha256.Sum256(rest); hex.EncodeToString(sum[:]) != string(digest) {
		return record{}, nil, fmt.Errorf("%s: %w", path, errDamaged)
	}
	head, log, _ := bytes.Cut(rest, []byte{'\n'})
	var r record
	if err := json.Unmarshal(head, &r); err != nil {
		return record{}, nil, fmt.Errorf("%s: %w", path, err)
	}
	if _, err := pipeline.ParseRunID(string(r.Run)); err != nil {
		return record{}, nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, log, nil
}

// objectsAreThere checks the artifacts of a success: bytes that were written after
// it are read again, and wrong ones are removed.
func (s *supervisors) objectsAreThere(r record) error {
	for _, a := range r.Result.Artifacts {
		if a.Manifest.SHA256 == "" {
			continue
		}
		form, err := os.ReadFile(s.objectPath(a.Manifest.SHA256))
		if err != nil {
			return err
		}
		if sum := sha256.Sum256(form); hex.EncodeToString(sum[:]) != a.Manifest.SHA256 {
			return fmt.Errorf("artifact %s: %w", a.Name, errDamaged)
		}
		manifest, err := supervisor.ParseManifest(form)
		if err != nil {
			return fmt.Errorf("artifact %s: %w", a.Name, err)
		}
		for _, blob := range manifest.Blobs() {
			if err := s.blobIsThere(blob, r.At); err != nil {
				return fmt.Errorf("artifact %s: %w", a.Name, err)
			}
		}
	}
	return nil
}

func (s *supervisors) objectPath(digest string) string {
	return filepath.Join(s.data.dir, "objects", digest)
}

func (s *supervisors) blobIsThere(blob supervisor.Object, since time.Time) error {
	path := s.objectPath(blob.SHA256)
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() == blob.Size && info.ModTime().Before(since) {
		return nil
	}
	digest, err := fileDigest(path)
	if err == nil && digest != blob.SHA256 {
		err = errDamaged
	}
	return err
}

// repairObjects removes artifacts whose bytes are not those of their name: where one
// is damaged others may be, and a stage that makes them again would find them there.
func (s *supervisors) repairObjects(ctx context.Context) {
	entries, err := os.ReadDir(filepath.Join(s.data.dir, "objects"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.config.Log.WarnContext(ctx, "artifacts cannot be checked", "err", err)
	}
	for _, e := range entries {
		path := s.objectPath(e.Name())
		if digest, err := fileDigest(path); err != nil || digest != e.Name() {
			s.discard(path)
		}
	}
}

// keep writes the successes of this run for the runs to come. What goes wrong here
// costs time later, and is no fault of the run.
func (s *supervisors) keep(ctx context.Context, run pipeline.Run) {
	if s.config.InPlace || s.poolErr != nil || run.ID == "" || ctx.Err() != nil {
		return
	}
	dir := filepath.Join(s.data.dir, "reuse")
	err := makeDir(dir)
	for _, done := range s.past.made {
		if err != nil {
			break
		}
		err = s.keepOne(run, done)
	}
	if err = errors.Join(err, s.sweep(dir, time.Now())); err != nil {
		s.config.Log.WarnContext(ctx, "results are not kept for the next run", "err", err)
	}
}

func (s *supervisors) keepOne(run pipeline.Run, done success) error {
	in, err := s.inputsOf(done.job)
	if err != nil {
		return err
	}
	path, err := s.recordPath(in)
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); err == nil && !s.config.Reuse {
		return nil // of equal inputs; who reads it checks it
	}
	log, fits := s.logs.read(fmt.Sprintf("%s-%d.log", done.job.StageKey, done.job.Attempt), keptLogs)
	if !fits {
		return nil
	}
	head, err := json.Marshal(record{run.ID, time.Now(), done.result})
	if err != nil {
		return err
	}
	sum := sha256.New()
	for _, part := range [][]byte{head, {'\n'}, log} {
		sum.Write(part)
	}
	return writeWhole(path, 0o644, []byte(hex.EncodeToString(sum.Sum(nil))), []byte{'\n'}, head, []byte{'\n'}, log)
}

// partial ends the name of a file that is being written.
const partial = ".partial"

// writeWhole writes a file beside its name and renames it: whoever reads the name
// finds all of it, or what was there before.
func writeWhole(path string, mode os.FileMode, parts ...[]byte) error {
	beside := path + partial
	file, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	for _, part := range parts {
		if err == nil {
			_, err = file.Write(part)
		}
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(beside))
	}
	return os.Rename(beside, path)
}

func isRecord(name string) bool {
	key, digest, cut := strings.Cut(name, "-")
	return cut && len(key) == 16 && len(digest) == 2*sha256.Size
}
