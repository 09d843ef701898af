package localrun

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/supervisor"
)

// How much of earlier runs is kept: successes that were made or used lately, of all
// those the newest, and the artifacts that belong to them.
const (
	keptFor    = 14 * 24 * time.Hour
	keptCount  = 2000
	keptBytes  = 2 << 30 // logs and artifacts, together
	sweepEvery = time.Hour
)

// sweep removes what is beyond those bounds. It looks once in sweepEvery, so that a
// run hardly ever waits for it.
func (s *supervisors) sweep(dir string, now time.Time) error {
	mark := filepath.Join(dir, "swept")
	if info, err := os.Stat(mark); err == nil && now.Sub(info.ModTime()) < sweepEvery {
		return nil
	}
	if err := writeWhole(mark, 0o644); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var records []fs.FileInfo
	var errs []error
	for _, e := range entries {
		if info, err := e.Info(); err == nil && isRecord(e.Name()) {
			records = append(records, info)
		}
		if strings.HasSuffix(e.Name(), partial) { // of a run that was killed
			errs = append(errs, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	slices.SortFunc(records, func(a, b fs.FileInfo) int { return cmp.Compare(b.ModTime().UnixNano(), a.ModTime().UnixNano()) })
	wanted, size := make(map[string]bool), int64(0)
	for i, info := range records {
		path := filepath.Join(dir, info.Name())
		r, _, err := readRecord(path)
		if err != nil || i >= keptCount || size > keptBytes || now.Sub(info.ModTime()) > keptFor {
			errs = append(errs, os.Remove(path))
			continue
		}
		size += info.Size() + s.want(r, wanted)
	}
	return errors.Join(append(errs, s.sweepObjects(wanted, now))...)
}

// want notes the objects of a success, and answers the bytes of those that were not
// noted before.
func (s *supervisors) want(r record, wanted map[string]bool) (size int64) {
	for _, a := range r.Result.Artifacts {
		form, err := os.ReadFile(s.objectPath(a.Manifest.SHA256))
		if err != nil {
			continue
		}
		wanted[a.Manifest.SHA256] = true
		manifest, err := supervisor.ParseManifest(form)
		if err != nil {
			continue
		}
		for _, blob := range manifest.Blobs() {
			if !wanted[blob.SHA256] {
				wanted[blob.SHA256] = true
				size += blob.Size
			}
		}
	}
	return size
}

// sweepObjects removes artifacts that belong to no success and are not of this run.
func (s *supervisors) sweepObjects(wanted map[string]bool, now time.Time) error {
	dir := filepath.Join(s.data.dir, "objects")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var errs []error
	for _, e := range entries {
		if info, err := e.Info(); err == nil && !wanted[e.Name()] && now.Sub(info.ModTime()) > sweepEvery {
			errs = append(errs, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(append(errs, err)...)
}

func fileDigest(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	_, err = io.Copy(sum, file)
	return hex.EncodeToString(sum.Sum(nil)), errors.Join(err, file.Close())
}
