package workspace

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// Sum is what a snapshot holds, by content: path, whether it may be executed, and
// bytes of every file. Times are no part of it.
type Sum struct {
	Files     string          // digest of all but the pipeline files
	Pipelines string          // digest of the pipeline files
	Words     map[string]bool // which of the words that were asked for stand in some file but those
}

// maxWords bounds a file that is searched for words, in bytes: what is larger is
// data.
const maxWords = 1 << 20

// Sum digests the files of the snapshot that count, nil for all. What it finds of a file is kept with the snapshot, so
// that the next run reads again only what has changed.
func (p *Pool) Sum(ctx context.Context, words []string, counts func(name string) bool) (Sum, error) {
	p.summing.Lock()
	defer p.summing.Unlock()
	sum := Sum{Words: make(map[string]bool)}
	names := slices.Sorted(maps.Keys(p.snapshot.state.Files))
	seen, err := p.seenFiles(ctx, names, words)
	if err != nil {
		return Sum{}, fmt.Errorf("content of the tree: %w", err)
	}
	files, pipelines := sha256.New(), sha256.New()
	for i, name := range names {
		e := p.snapshot.state.Files[name]
		digest, found, _ := strings.Cut(seen[i], "\n")
		into := files
		switch {
		case isPipeline(name):
			into, found = pipelines, ""
		case counts != nil && !counts(name):
			continue
		}
		fmt.Fprintf(into, "%d:%s %o %s\n", len(name), name, e.Own.Mode&(fs.ModeType|0o100), digest)
		for word := range strings.SplitSeq(found, "\n") {
			sum.Words[word] = word != ""
		}
	}
	sum.Files, sum.Pipelines = hex.EncodeToString(files.Sum(nil)), hex.EncodeToString(pipelines.Sum(nil))
	return sum, nil
}

// isPipeline tells whether a path is one that pipelines are read from.
func isPipeline(name string) bool {
	return filepath.Base(name) == ".buildit.kdl" || strings.HasPrefix(name, Ours+"/") && strings.HasSuffix(name, ".kdl")
}

// seenFiles answers for each file its digest and the words that stand in it. It
// reads those that nobody has looked into since they changed, or with other words.
func (p *Pool) seenFiles(ctx context.Context, names, words []string) ([]string, error) {
	if asked := strings.Join(words, "\n"); asked != p.snapshot.state.Words {
		p.snapshot.state.Words = asked
		for name, e := range p.snapshot.state.Files {
			e.Seen = ""
			p.snapshot.state.Files[name] = e
		}
	}
	seen := make([]string, len(names))
	var missing []int
	for i, name := range names {
		if seen[i] = p.snapshot.state.Files[name].Seen; seen[i] == "" {
			missing = append(missing, i)
		}
	}
	workers := min(runtime.GOMAXPROCS(0), 1+len(missing)/fewFiles)
	errs := make([]error, workers)
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for n := w; n < len(missing) && errs[w] == nil; n += workers {
				i := missing[n]
				if errs[w] = ctx.Err(); errs[w] == nil {
					seen[i], errs[w] = seeInto(filepath.Join(p.snapshot.dir, names[i]), p.snapshot.state.Files[names[i]].Own.Mode, words)
				}
			}
		})
	}
	group.Wait()
	for _, i := range missing {
		if e := p.snapshot.state.Files[names[i]]; !e.Own.Mode.IsDir() { // a submodule tells by no stamp of its own that it changed
			e.Seen = seen[i]
			p.snapshot.state.Files[names[i]] = e
		}
	}
	return seen, errors.Join(errs...)
}

// seeInto answers the digest of a file, link or folder, and which words stand in it.
func seeInto(path string, mode fs.FileMode, words []string) (string, error) {
	sum := sha256.New()
	var found []string
	switch {
	case mode&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		io.WriteString(sum, target) // a hash takes everything
	case mode.IsDir():
		if err := sumFolder(sum, path); err != nil {
			return "", err
		}
	case mode.IsRegular():
		file, err := os.Open(path)
		if err != nil {
			return "", err
		}
		var text bytes.Buffer
		_, err = io.Copy(sum, io.TeeReader(io.LimitReader(file, maxWords), &text))
		if err == nil {
			_, err = io.Copy(sum, file)
		}
		if err := errors.Join(err, file.Close()); err != nil {
			return "", err
		}
		for _, word := range words {
			if bytes.Contains(text.Bytes(), []byte(word)) {
				found = append(found, word)
			}
		}
	}
	return strings.Join(append([]string{hex.EncodeToString(sum.Sum(nil))}, found...), "\n"), nil
}

// sumFolder digests all that a folder holds.
func sumFolder(sum hash.Hash, dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		seen, err := seeInto(path, entry.Type(), nil)
		name, relErr := filepath.Rel(dir, path)
		fmt.Fprintf(sum, "%d:%s %s\n", len(name), name, seen)
		return errors.Join(err, relErr)
	})
}

// GitSum digests what git tells in a folder of the pool besides its files: HEAD,
// refs and index.
func (p *Pool) GitSum() (string, error) {
	sum := sha256.New()
	for _, name := range p.names {
		if !strings.HasPrefix(name, ".git/") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(p.snapshot.dir, name))
		if err != nil {
			return "", fmt.Errorf("git's part of the tree: %w", err)
		}
		fmt.Fprintf(sum, "%d:%s %x\n", len(name), name, sha256.Sum256(text))
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
