package workspace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// Pool lends folders that equal the snapshot of a tree.
type Pool struct {
	dir      string
	snapshot *folder
	names    []string // what a folder holds

	summing sync.Mutex // guards what is seen of the snapshot's files

	mu   sync.Mutex
	made int
	free []*folder
	lent map[string]*folder
}

// Open brings the snapshot of the tree at root in order, in dir, which the caller
// has locked.
func Open(ctx context.Context, dir, root string, git bool) (*Pool, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	names, err := List(ctx, root, git)
	if err != nil {
		return nil, err
	}
	snapshot, err := loadFolder(filepath.Join(dir, "snapshot"))
	if err != nil {
		return nil, err
	}
	var borrowed []string
	if git {
		if borrowed, err = borrowGit(root, snapshot.dir); err != nil {
			return nil, fmt.Errorf("git directory of the snapshot: %w", err)
		}
	}
	if err := snapshot.sync(ctx, root, names, borrowed); err != nil {
		return nil, fmt.Errorf("snapshot of %s: %w", root, err)
	}
	return &Pool{dir: dir, snapshot: snapshot, names: append(names, borrowed...), lent: make(map[string]*folder)}, nil
}

// Take lends a folder. The caller gives it back when nothing runs in it any more.
func (p *Pool) Take(ctx context.Context) (dir string, err error) {
	p.mu.Lock()
	if n := len(p.free); n > 0 {
		f := p.free[n-1]
		p.free = p.free[:n-1]
		p.lent[f.dir] = f
		p.mu.Unlock()
		return f.dir, nil
	}
	p.made++
	number := p.made
	p.mu.Unlock()
	f, err := loadFolder(filepath.Join(p.dir, strconv.Itoa(number)))
	if err == nil {
		err = f.sync(ctx, p.snapshot.dir, p.names, nil)
	}
	if err != nil {
		return "", fmt.Errorf("workspace %d: %w", number, err)
	}
	p.mu.Lock()
	p.lent[f.dir] = f
	p.mu.Unlock()
	return f.dir, nil
}

// Give takes a folder back and brings it in order for the next stage.
func (p *Pool) Give(ctx context.Context, dir string) error {
	p.mu.Lock()
	f := p.lent[dir]
	delete(p.lent, dir)
	p.mu.Unlock()
	if f == nil {
		return fmt.Errorf("%s was not lent", dir)
	}
	if err := f.sync(ctx, p.snapshot.dir, p.names, nil); err != nil {
		return fmt.Errorf("bring %s in order: %w", dir, err)
	}
	p.mu.Lock()
	p.free = append(p.free, f)
	p.mu.Unlock()
	return nil
}

// kept is how many bytes of folders stay for the next run, about.
const kept = 512 << 20

// Close keeps what is known of the folders, and removes those that would take too
// much room until the next run.
func (p *Pool) Close() error {
	p.summing.Lock()
	defer p.summing.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	size := int64(0)
	for _, e := range p.snapshot.state.Files {
		size += e.Own.Size
	}
	errs := []error{p.snapshot.save()}
	for i, f := range p.free {
		if int64(i+1)*size > kept && i > 0 {
			errs = append(errs, removeAll(f.dir), os.Remove(f.dir+".json"))
			continue
		}
		errs = append(errs, f.save())
	}
	return errors.Join(errs...)
}
