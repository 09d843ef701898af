package git

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/index"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// dotGit writes the folder .git: a detached HEAD, the tags of what is there, an
// index of the files, and one pack, in an order that depends on the commit alone.
func (b *bundle) dotGit(depth int) error {
	commits, cut, err := b.commits(depth)
	if err != nil {
		return err
	}
	tags, tagObjects := b.tags(commits)
	objects, err := b.objects(commits, tagObjects)
	if err != nil {
		return err
	}
	var list bytes.Buffer
	if err := index.NewEncoder(&list).Encode(b.index()); err != nil {
		return err
	}
	for _, name := range []string{".git", ".git/refs", ".git/refs/heads", ".git/refs/tags", ".git/objects", ".git/objects/pack"} {
		if err := b.folder(name); err != nil {
			return err
		}
	}
	files := map[string]string{
		".git/HEAD":        b.tree.commit.Hash.String() + "\n",
		".git/config":      "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n",
		".git/packed-refs": tags,
		".git/index":       list.String(),
	}
	if len(cut) > 0 {
		files[".git/shallow"] = strings.Join(cut, "\n") + "\n"
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := b.bytes(name, []byte(files[name])); err != nil {
			return err
		}
	}
	return b.pack(objects)
}

// commits are the commit and those below it, depth in all on each line of parents,
// and the ids of those whose parents are not there.
func (b *bundle) commits(depth int) (commits []*object.Commit, cut []string, err error) {
	seen := map[plumbing.Hash]bool{}
	for level := []plumbing.Hash{b.tree.commit.Hash}; len(level) > 0; depth-- {
		var next []plumbing.Hash
		for _, hash := range level {
			if seen[hash] {
				continue
			}
			seen[hash] = true
			commit, err := object.GetCommit(b.tree.clone.storage, hash)
			if err != nil {
				return nil, nil, err
			}
			commits = append(commits, commit)
			next = append(next, commit.ParentHashes...)
		}
		if depth == 1 || slices.ContainsFunc(next, func(h plumbing.Hash) bool { return !b.tree.clone.Has(CommitSHA(h.String())) }) {
			break
		}
		level = next
	}
	for _, commit := range commits {
		if slices.ContainsFunc(commit.ParentHashes, func(h plumbing.Hash) bool { return !seen[h] }) {
			cut = append(cut, commit.Hash.String())
		}
	}
	slices.Sort(cut)
	return commits, cut, nil
}

// tags are those of the remote that name one of the commits, as git packs refs,
// with the tag objects that are at hand.
func (b *bundle) tags(commits []*object.Commit) (text string, objects []plumbing.Hash) {
	clone := b.tree.clone
	there := map[CommitSHA]bool{}
	for _, commit := range commits {
		there[CommitSHA(commit.Hash.String())] = true
	}
	var lines strings.Builder
	lines.WriteString("# pack-refs with: peeled fully-peeled sorted \n")
	for _, ref := range slices.Sorted(maps.Keys(clone.tags)) {
		commit := clone.tags[ref]
		if !there[commit] {
			continue
		}
		annotated := plumbing.NewHash(clone.tagObjects[ref])
		if annotated.IsZero() {
			fmt.Fprintf(&lines, "%s %s\n", commit, ref)
		} else if _, err := clone.storage.EncodedObject(plumbing.TagObject, annotated); err == nil {
			fmt.Fprintf(&lines, "%s %s\n^%s\n", annotated, ref, commit)
			objects = append(objects, annotated)
		}
	}
	return lines.String(), objects
}

// objects are all that the commits need, each once: commits, tags, then trees and
// files as the walk meets them.
func (b *bundle) objects(commits []*object.Commit, tags []plumbing.Hash) ([]plumbing.Hash, error) {
	seen := map[plumbing.Hash]bool{}
	var all []plumbing.Hash
	add := func(hash plumbing.Hash) bool {
		if seen[hash] {
			return false
		}
		seen[hash] = true
		all = append(all, hash)
		return true
	}
	for _, commit := range commits {
		add(commit.Hash)
	}
	for _, tag := range tags {
		add(tag)
	}
	var walk func(hash plumbing.Hash) error
	walk = func(hash plumbing.Hash) error {
		if !add(hash) {
			return nil
		}
		if err := b.ctx.Err(); err != nil {
			return err
		}
		tree, err := object.GetTree(b.tree.clone.storage, hash)
		if err != nil {
			return err
		}
		for _, e := range tree.Entries {
			switch e.Mode {
			case filemode.Dir:
				if err := walk(e.Hash); err != nil {
					return err
				}
			case filemode.Submodule:
			default:
				add(e.Hash)
			}
		}
		return nil
	}
	for _, commit := range commits {
		if err := walk(commit.TreeHash); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// index lists the files as git add would have, without their times, so that git
// compares contents the first time that it is asked.
func (b *bundle) index() *index.Index {
	idx := &index.Index{Version: 2}
	modes := map[Mode]filemode.FileMode{Regular: filemode.Regular, Executable: filemode.Executable, Symlink: filemode.Symlink, Submodule: filemode.Submodule}
	for _, f := range b.tree.Files {
		idx.Entries = append(idx.Entries, &index.Entry{Name: f.Path, Hash: f.hash, Mode: modes[f.Mode], ModifiedAt: time.Time{}})
	}
	return idx
}

// pack writes the objects as one pack without deltas, and its index. The pack
// rests on disk first, since tar wants the size before the bytes.
//
// Source: gitformat-pack(5).
func (b *bundle) pack(objects []plumbing.Hash) (err error) {
	f, err := os.CreateTemp(b.tree.clone.dir, "pack-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	buffered := bufio.NewWriterSize(f, 64<<10)
	idx, err := b.writePack(buffered, objects)
	if err = errors.Join(err, buffered.Flush()); err != nil {
		return err
	}
	size, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	name := ".git/objects/pack/pack-" + hex.EncodeToString(idx.PackfileChecksum[:])
	if err := b.out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name + ".pack", Mode: 0o444, Size: size, ModTime: b.when}); err != nil {
		return err
	}
	if _, err := io.Copy(b.out, f); err != nil {
		return err
	}
	var encoded bytes.Buffer
	if _, err := idxfile.NewEncoder(&encoded).Encode(idx); err != nil {
		return err
	}
	return b.bytes(name+".idx", encoded.Bytes())
}

func (b *bundle) writePack(to io.Writer, objects []plumbing.Hash) (*idxfile.MemoryIndex, error) {
	w := &packWriter{to: to, sum: sha1.New(), crc: crc32.NewIEEE()}
	entries := new(idxfile.Writer)
	if err := entries.OnHeader(uint32(len(objects))); err != nil {
		return nil, err
	}
	head := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), uint32(len(objects)))
	if _, err := w.Write(head); err != nil {
		return nil, err
	}
	deflate, err := zlib.NewWriterLevel(w, zlib.NoCompression) // the bundle around it is compressed
	if err != nil {
		return nil, err
	}
	for _, hash := range objects {
		at := w.n
		w.crc.Reset()
		if err := packObject(w, deflate, b.tree.clone.storage, hash); err != nil {
			return nil, err
		}
		entries.Add(hash, uint64(at), w.crc.Sum32())
	}
	sum := plumbing.Hash(w.sum.Sum(nil))
	if _, err := to.Write(sum[:]); err != nil {
		return nil, err
	}
	if err := entries.OnFooter(sum); err != nil {
		return nil, err
	}
	return entries.Index()
}

// packWriter counts and sums what goes into a pack.
type packWriter struct {
	to  io.Writer
	sum hash.Hash
	crc hash.Hash32
	n   int64
}

func (w *packWriter) Write(p []byte) (int, error) {
	n, err := io.MultiWriter(w.to, w.sum, w.crc).Write(p)
	w.n += int64(n)
	return n, err
}

func packObject(w io.Writer, deflate *zlib.Writer, from storer.EncodedObjectStorer, hash plumbing.Hash) error {
	o, err := from.EncodedObject(plumbing.AnyObject, hash)
	if err != nil {
		return err
	}
	size := uint64(o.Size())
	head := []byte{byte(o.Type())<<4 | byte(size&15)}
	for size >>= 4; size > 0; size >>= 7 {
		head[len(head)-1] |= 0x80
		head = append(head, byte(size&0x7f))
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	r, err := o.Reader()
	if err != nil {
		return err
	}
	deflate.Reset(w)
	_, err = io.Copy(deflate, r)
	if err == nil {
		err = deflate.Close()
	}
	if closeErr := r.Close(); err == nil {
		err = closeErr
	}
	return err
}
