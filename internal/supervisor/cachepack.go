package supervisor

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// stagingPrefix begins the name of a folder in which a cache is unpacked before it
// takes its place.
const stagingPrefix = ".buildit-cache-"

// packCache reads what lies at the roots into packs, each of which goes to send from
// several goroutines, and answers the index. Links that leave their base, devices and
// files that nobody can read end it: half a cache is none.
func packCache(ctx context.Context, roots []cacheRoot, send func(context.Context, Object, []byte) error) (*cacheIndex, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	p := &cachePacker{ctx: ctx, index: &cacheIndex{V: cacheFormat}, seen: map[string]bool{}, full: make(chan fullPack)}
	for range transfers {
		p.workers.Go(func() {
			if err := p.sendAll(send); err != nil {
				stop(err)
			}
		})
	}
	err := p.readAll(roots)
	close(p.full)
	p.workers.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return nil, cause
	}
	return p.index, err
}

type cachePacker struct {
	ctx     context.Context // of packCache, which the walk serves
	index   *cacheIndex
	seen    map[string]bool
	bytes   int64
	pack    []byte // being filled
	full    chan fullPack
	spare   sync.Pool
	workers sync.WaitGroup
	mu      sync.Mutex // of index.Packs
}

type fullPack struct {
	number int
	raw    []byte
}

// sendAll compresses and sends packs as they come.
func (p *cachePacker) sendAll(send func(context.Context, Object, []byte) error) error {
	encoder, err := newPacker()
	if err != nil {
		return err
	}
	var form []byte
	for pack := range p.full {
		if p.ctx.Err() != nil {
			continue
		}
		form = encoder.EncodeAll(pack.raw, form[:0])
		object := objectOf(form)
		p.mu.Lock()
		p.index.Packs[pack.number] = cachePack{object.SHA256, object.Size, int64(len(pack.raw))}
		p.mu.Unlock()
		p.spare.Put(&pack.raw)
		if sendErr := send(p.ctx, object, form); sendErr != nil && err == nil {
			err = sendErr
			break
		}
	}
	for err != nil { // the reader waits for somebody who takes its packs
		if _, more := <-p.full; !more {
			break
		}
	}
	return errors.Join(err, encoder.Close())
}

// readAll walks over the roots.
func (p *cachePacker) readAll(roots []cacheRoot) error {
	for i, root := range roots {
		base, err := root.open(false)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		err = fs.WalkDir(base.FS(), root.rel, func(name string, d fs.DirEntry, err error) error {
			return p.visit(i, root, base, name, d, err)
		})
		if errors.Is(err, fs.ErrNotExist) && len(p.index.Files) == 0 {
			err = nil
		}
		if err = errors.Join(err, base.Close()); err != nil {
			return err
		}
	}
	return p.flush()
}

func (p *cachePacker) visit(i int, root cacheRoot, base *os.Root, name string, d fs.DirEntry, err error) error {
	switch {
	case name == root.rel && errors.Is(err, fs.ErrNotExist):
		return nil // this path has nothing
	case err != nil:
		return err
	case p.ctx.Err() != nil:
		return context.Cause(p.ctx)
	case d.IsDir() && strings.HasPrefix(d.Name(), stagingPrefix):
		return fs.SkipDir // left behind by a stage that was killed
	case p.seen[root.dir+"\x00"+name]: // two paths of the cache lie in each other
		return nil
	}
	p.seen[root.dir+"\x00"+name] = true
	f := cacheFile{Root: i, Path: name, Dir: d.IsDir()}
	if !f.Dir {
		if err := p.read(base, &f, d); err != nil {
			return err
		}
	}
	if err := f.check(root); err != nil {
		return err
	}
	if len(p.index.Files) == MaxCacheFiles || p.bytes > MaxCacheBytes {
		return fmt.Errorf("it has more than %d files or %d bytes, the limits of a cache", MaxCacheFiles, int64(MaxCacheBytes))
	}
	p.index.Files = append(p.index.Files, f)
	if len(p.pack) >= packLeast && endsPack(name) {
		return p.flush()
	}
	return nil
}

// endsPack tells whether a pack may end behind the file.
func endsPack(name string) bool {
	h := fnv.New32a()
	h.Write([]byte(name))
	return h.Sum32()%packEnds == 0
}

// read takes over a link, or a file with its bytes.
func (p *cachePacker) read(base *os.Root, f *cacheFile, d fs.DirEntry) (err error) {
	switch {
	case d.Type()&fs.ModeSymlink != 0:
		f.Link, err = base.Readlink(f.Path)
		return err
	case !d.Type().IsRegular():
		return fmt.Errorf("%s is neither a file nor a link", f.Path)
	}
	file, err := openFile(base, f.Path)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err == nil {
		f.X, f.Time = info.Mode()&0o111 != 0, info.ModTime().UnixNano()
		f.Size, err = p.add(file)
	}
	return errors.Join(err, file.Close())
}

// add takes the bytes of a file into the stream, as many as there are now.
func (p *cachePacker) add(file *os.File) (size int64, err error) {
	for {
		if p.pack == nil {
			p.pack = p.take()
		}
		n, err := file.Read(p.pack[len(p.pack):cap(p.pack)])
		p.pack = p.pack[:len(p.pack)+n]
		size, p.bytes = size+int64(n), p.bytes+int64(n)
		switch {
		case p.bytes > MaxCacheBytes:
			return size, fmt.Errorf("it has more than %d bytes, the limit of a cache", int64(MaxCacheBytes))
		case len(p.pack) == cap(p.pack):
			if err := p.flush(); err != nil {
				return size, err
			}
		}
		if errors.Is(err, io.EOF) {
			return size, nil
		}
		if err != nil {
			return size, err
		}
	}
}

func (p *cachePacker) take() []byte {
	if spare, ok := p.spare.Get().(*[]byte); ok {
		return (*spare)[:0]
	}
	return make([]byte, 0, packBytes)
}

// flush hands over the pack that is being filled.
func (p *cachePacker) flush() error {
	if len(p.pack) == 0 {
		return nil
	}
	p.mu.Lock()
	number := len(p.index.Packs)
	p.index.Packs = append(p.index.Packs, cachePack{})
	p.mu.Unlock()
	select {
	case p.full <- fullPack{number, p.pack}:
	case <-p.ctx.Done():
		return context.Cause(p.ctx)
	}
	p.pack = nil
	return nil
}

// unpackPack is the raw bytes of a pack, which are as many as the index says.
func unpackPack(decoder *zstd.Decoder, pack cachePack, form, into []byte) ([]byte, error) {
	raw, err := decoder.DecodeAll(form, into[:0])
	if err != nil {
		return raw, fmt.Errorf("a pack cannot be unpacked: %w", err)
	}
	if int64(len(raw)) != pack.Raw {
		return raw, fmt.Errorf("a pack has %d bytes, its index says %d", len(raw), pack.Raw)
	}
	return raw, nil
}
