package supervisor

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// A cache is stored as packs and an index. The bytes of all its files, in the order
// of the index, are one stream, and a pack is the next piece of it under zstd; so
// packs are made, sent, fetched and unpacked side by side, and two entries that hold
// the same files share them. Everything that names a place is in the index, which is
// judged as a whole before the first byte is written.
const (
	cacheFormat = 1
	// packBytes is the most that a pack holds, unpacked: eight on their way at once are
	// 64 MB of memory, and one is long enough that a request for it costs nothing.
	packBytes = 4 << 20
	// A pack may end early after a file whose path says so, so that a file more or less
	// does not shift the contents of every pack behind it.
	packLeast = packBytes / 2
	packEnds  = 16

	MaxCacheBytes = 10 << 30 // of an entry, unpacked and packed
	MaxCacheFiles = 500_000
	MaxCachePacks = 2 * MaxCacheBytes / packBytes
	maxCacheIndex = 128 << 20 // bytes, unpacked
	// MaxCacheObject is the most that one object of a cache takes, in bytes.
	MaxCacheObject = 64 << 20
)

// cacheIndex says what an entry holds.
type cacheIndex struct {
	V     int         `json:"v"`
	Files []cacheFile `json:"files"` // a folder before what is in it
	Packs []cachePack `json:"packs"`
}

// cacheFile is a file, a folder or a link at a path relative to the base of the
// Root'th path of the cache: workspace, home, or the absolute folder itself.
type cacheFile struct {
	Root int    `json:"r,omitempty"`
	Path string `json:"p"`
	Dir  bool   `json:"d,omitempty"`
	X    bool   `json:"x,omitempty"` // may be executed
	Size int64  `json:"s,omitempty"`
	Time int64  `json:"t,omitempty"` // of the last change, in nanoseconds since 1970: build tools compare it
	Link string `json:"l,omitempty"`
}

// cachePack is a piece of the stream.
type cachePack struct {
	SHA256 string `json:"h"`
	Size   int64  `json:"s"`
	Raw    int64  `json:"r"` // unpacked
}

func (p cachePack) object() Object {
	return Object{Kind: "cache", Name: p.SHA256, SHA256: p.SHA256, Size: p.Size}
}

// raw is the length of the stream.
func (x *cacheIndex) raw() (bytes int64) {
	for _, p := range x.Packs {
		bytes += p.Raw
	}
	return bytes
}

// objects are what the entry consists of, without its index.
func (x *cacheIndex) objects() []Object {
	list := make([]Object, len(x.Packs))
	for i, p := range x.Packs {
		list[i] = p.object()
	}
	return list
}

// encode is the index as an object, and its bytes.
func (x *cacheIndex) encode() (Object, []byte, error) {
	text, err := json.Marshal(x)
	if err != nil {
		return Object{}, nil, err
	}
	if len(text) > maxCacheIndex {
		return Object{}, nil, fmt.Errorf("its index has %d bytes; %d are allowed", len(text), maxCacheIndex)
	}
	encoder, err := newPacker()
	if err != nil {
		return Object{}, nil, err
	}
	form := encoder.EncodeAll(text, nil)
	object := objectOf(form)
	object.Name = CacheIndex
	return object, form, encoder.Close()
}

// CacheIndex is the name of the object that is an index.
const CacheIndex = "index"

// objectOf names bytes of a cache by their digest.
func objectOf(form []byte) Object {
	sum := sha256.Sum256(form)
	digest := hex.EncodeToString(sum[:])
	return Object{Kind: "cache", Name: digest, SHA256: digest, Size: int64(len(form))}
}

// newPacker compresses: the fastest level, since most of what a build keeps is
// written once for every time that it is read, and 8 times faster than it is sent.
func newPacker() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(packBytes))
}

// newUnpacker unpacks frames of at most limit bytes.
func newUnpacker(from io.Reader, limit uint64) (*zstd.Decoder, error) {
	return zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(limit), zstd.WithDecoderMaxWindow(max(limit, zstd.MinWindowSize)))
}

// parseCacheIndex reads an index, and refuses one that names a place outside the
// paths of the cache, or passes a limit. A file below a link, a link that leaves its
// base and a path that comes twice are refused too.
func parseCacheIndex(form []byte, roots []cacheRoot) (*cacheIndex, error) {
	decoder, err := newUnpacker(bytes.NewReader(form), maxCacheIndex)
	if err != nil {
		return nil, err
	}
	defer decoder.Close()
	text, err := io.ReadAll(io.LimitReader(decoder, maxCacheIndex+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the index cannot be unpacked: %w", err)
	case len(text) > maxCacheIndex:
		return nil, errors.New("the index is too long")
	}
	x := new(cacheIndex)
	if err := json.Unmarshal(text, x); err != nil {
		return nil, fmt.Errorf("the index cannot be read: %w", err)
	}
	if x.V != cacheFormat {
		return nil, fmt.Errorf("the index has format %d, not %d", x.V, cacheFormat)
	}
	return x, errors.Join(x.checkFiles(roots), x.checkPacks())
}

func (x *cacheIndex) checkFiles(roots []cacheRoot) error {
	if len(x.Files) > MaxCacheFiles {
		return fmt.Errorf("it has %d files; %d are allowed", len(x.Files), MaxCacheFiles)
	}
	folders := make(map[string]bool) // of each path that was seen: whether it is a folder
	stream := int64(0)
	for i := range x.Files {
		f := &x.Files[i]
		if f.Root < 0 || f.Root >= len(roots) {
			return &ArchiveError{f.Path, "belongs to no path of the cache"}
		}
		root := roots[f.Root]
		if err := f.check(root); err != nil {
			return err
		}
		at := root.dir + "\x00" + f.Path
		if _, twice := folders[at]; twice {
			return &ArchiveError{f.Path, "comes twice"}
		}
		if parent := path.Dir(f.Path); f.Path != root.rel && !folders[root.dir+"\x00"+parent] {
			return &ArchiveError{f.Path, "is in no folder of the cache"}
		}
		folders[at] = f.Dir
		if stream += f.Size; stream > MaxCacheBytes {
			return fmt.Errorf("it has more than %d bytes", int64(MaxCacheBytes))
		}
	}
	if raw := x.raw(); raw != stream {
		return fmt.Errorf("its files have %d bytes, its packs %d", stream, raw)
	}
	return nil
}

// check judges one file by itself.
func (f *cacheFile) check(root cacheRoot) error {
	switch {
	case !filepath.IsLocal(f.Path) || path.Clean(f.Path) != f.Path || strings.ContainsRune(f.Path, 0):
		return &ArchiveError{f.Path, "has a path that is not allowed"}
	case len(f.Path) > maxPath || strings.Count(f.Path, "/") > maxDepth:
		return &ArchiveError{f.Path[:min(len(f.Path), 100)], "has a path that is too long"}
	case f.Path != root.rel && root.rel != "." && !strings.HasPrefix(f.Path, root.rel+"/"):
		return &ArchiveError{f.Path, "is outside the path of the cache"}
	case f.Path == "." && !f.Dir:
		return &ArchiveError{f.Path, "is the folder itself, and no folder"}
	case f.Size < 0 || (f.Dir || f.Link != "") && f.Size != 0 || f.Dir && f.Link != "":
		return &ArchiveError{f.Path, "is no folder, file or link"}
	case f.Link != "":
		return CheckLink(f.Path, f.Link)
	}
	return nil
}

func (x *cacheIndex) checkPacks() error {
	if len(x.Packs) > MaxCachePacks {
		return fmt.Errorf("it has %d packs; %d are allowed", len(x.Packs), MaxCachePacks)
	}
	packed := int64(0)
	for i, p := range x.Packs {
		sum, err := hex.DecodeString(p.SHA256)
		// A pack is never longer than what it holds by more than its frame.
		if err != nil || len(sum) != sha256.Size || p.Raw < 1 || p.Raw > packBytes || p.Size < 1 || p.Size > p.Raw+freeRatio {
			return fmt.Errorf("its pack %d is not valid", i)
		}
		packed += p.Size
	}
	if packed > 0 && x.raw() > freeRatio && x.raw()/packed > 2*zstdRatio {
		return fmt.Errorf("it swells to more than %d times its size", 2*zstdRatio)
	}
	return nil
}

// zstdRatio bounds how far a cache may swell. Real ones do so by 3 to 20 times; zeros
// under zstd by 15,000. What is unpacked is bounded by MaxCacheBytes in any case.
const zstdRatio = 10_000
