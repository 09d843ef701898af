package git

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// keepPack measures the pack in file, then resolves it, and puts it under its own
// name into folder, with its index beside it.
func keepPack(ctx context.Context, file, folder string, limits Limits) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	sum, idx, err := resolve(ctx, f, limits)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	base := filepath.Join(folder, "pack-"+sum.String())
	if err := os.Rename(file, base+".pack"); err != nil {
		return err
	}
	out, err := os.Create(base + ".idx")
	if err != nil {
		return err
	}
	_, err = idxfile.NewEncoder(out).Encode(idx)
	return errors.Join(err, out.Close())
}

func resolve(ctx context.Context, f *os.File, limits Limits) (plumbing.Hash, *idxfile.MemoryIndex, error) {
	if err := measure(ctx, f, limits); err != nil {
		return plumbing.ZeroHash, nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return plumbing.ZeroHash, nil, err
	}
	w := new(idxfile.Writer)
	parser, err := packfile.NewParser(packfile.NewScanner(f), w)
	if err != nil {
		return plumbing.ZeroHash, nil, err
	}
	sum, err := parser.Parse()
	if err != nil {
		return plumbing.ZeroHash, nil, hostile("The remote sent a broken pack: %v.", err)
	}
	idx, err := w.Index()
	return sum, idx, err
}

// measure reads what every object of a pack would expand to, and refuses the pack
// before any delta is applied. A few bytes may claim gigabytes: the claim counts.
func measure(ctx context.Context, f io.ReadSeeker, limits Limits) error {
	scanner := packfile.NewScanner(f)
	_, count, err := scanner.Header()
	if err != nil {
		return hostile("The remote sent no pack: %v.", err)
	}
	if int64(count) > int64(limits.Objects) {
		return tooLarge("The commit brings %d objects; at most %d are fetched.", count, limits.Objects)
	}
	var total int64
	for range count {
		if err := ctx.Err(); err != nil {
			return err
		}
		size, err := measureObject(scanner)
		if err != nil {
			return hostile("The remote sent a broken pack: %v.", err)
		}
		if size > limits.FileBytes {
			return tooLarge("A file of the commit has %d MB; at most %d MB are taken. Keep large files outside git, or in Git LFS.", size>>20, limits.FileBytes>>20)
		}
		if total += size; total > limits.TreeBytes {
			return tooLarge("The commit expands to more than %d MB.", limits.TreeBytes>>20)
		}
	}
	return nil
}

// measureObject is the larger of what an object takes in the pack and what it
// becomes. The first bytes of a delta are the sizes of its base and its result.
func measureObject(scanner *packfile.Scanner) (int64, error) {
	header, err := scanner.NextObjectHeader()
	if err != nil {
		return 0, err
	}
	var start prefix
	if _, _, err := scanner.NextObject(&start); err != nil {
		return 0, err
	}
	if !header.Type.IsDelta() {
		return header.Length, nil
	}
	sizes := bytes.NewReader(start.bytes)
	base, err1 := binary.ReadUvarint(sizes)
	result, err2 := binary.ReadUvarint(sizes)
	if err := errors.Join(err1, err2); err != nil {
		return 0, err
	}
	return int64(min(max(base, result, uint64(header.Length)), 1<<62)), nil
}

// prefix keeps the first bytes of what is written to it.
type prefix struct{ bytes []byte }

func (p *prefix) Write(b []byte) (int, error) {
	if room := 2*binary.MaxVarintLen64 - len(p.bytes); room > 0 {
		p.bytes = append(p.bytes, b[:min(room, len(b))]...)
	}
	return len(b), nil
}
