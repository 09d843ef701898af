package local

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/etag"
)

// A file of the store is the bytes of one version and a footer that describes them,
// so that bytes and description become visible in one step. It is never changed.
//
//	tag      16 bytes   of the bytes; of the parts' tags if parts > 0
//	number    8 bytes   of the version among those of its key, from 1
//	modified  8 bytes   Unix nanoseconds
//	nonce     4 bytes   so that a version's name is never given twice
//	parts     4 bytes   of a multipart upload, or 0
//	magic     8 bytes
const footerSize = 48

var footerMagic = []byte("bldBLOB1")

type footer struct {
	tag      [16]byte
	number   uint64
	modified time.Time
	nonce    uint32
	parts    uint32
}

// errTorn is a file without a footer: a write that a power cut took back.
var errTorn = errors.New("the file has no footer")

func newFooter(tag platform.ETag, number uint64, now time.Time) (footer, error) {
	digest, parts, _ := strings.Cut(string(tag), "-")
	f := footer{number: number, modified: now}
	if n, err := hex.Decode(f.tag[:], []byte(digest)); err != nil || n != len(f.tag) {
		return footer{}, fmt.Errorf("tag %q: %w", tag, platform.ErrInvalid)
	}
	if parts != "" {
		n, err := strconv.ParseUint(parts, 10, 32)
		if err != nil {
			return footer{}, fmt.Errorf("tag %q: %w", tag, platform.ErrInvalid)
		}
		f.parts = uint32(n)
	}
	var nonce [4]byte
	rand.Read(nonce[:]) // never fails: crypto/rand ends the program instead
	f.nonce = binary.BigEndian.Uint32(nonce[:])
	return f, nil
}

func (f footer) encode() []byte {
	b := append(make([]byte, 0, footerSize), f.tag[:]...)
	b = binary.BigEndian.AppendUint64(b, f.number)
	b = binary.BigEndian.AppendUint64(b, uint64(f.modified.UnixNano()))
	b = binary.BigEndian.AppendUint32(b, f.nonce)
	b = binary.BigEndian.AppendUint32(b, f.parts)
	return append(b, footerMagic...)
}

func decodeFooter(b []byte) (footer, error) {
	if len(b) != footerSize || !bytes.Equal(b[40:], footerMagic) {
		return footer{}, errTorn
	}
	f := footer{
		number:   binary.BigEndian.Uint64(b[16:]),
		modified: time.Unix(0, int64(binary.BigEndian.Uint64(b[24:]))).UTC(),
		nonce:    binary.BigEndian.Uint32(b[32:]),
		parts:    binary.BigEndian.Uint32(b[36:]),
	}
	copy(f.tag[:], b)
	return f, nil
}

func (f footer) etag() platform.ETag {
	tag := hex.EncodeToString(f.tag[:])
	if f.parts > 0 {
		tag += "-" + strconv.FormatUint(uint64(f.parts), 10)
	}
	return platform.ETag(tag)
}

// version is the name that callers see.
func (f footer) version() string { return fmt.Sprintf("%d-%08x", f.number, f.nonce) }

// versionNumber is the number in such a name, 0 if there is none.
func versionNumber(version string) uint64 {
	digits, _, _ := strings.Cut(version, "-")
	number, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return 0
	}
	return number
}

// stored is an open file of the store.
type stored struct {
	*os.File
	footer
	size int64 // of the object's bytes
}

// openStored opens a file of the store: os.ErrNotExist if there is none, errTorn if
// it is none.
func openStored(path string) (*stored, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	s, err := readStored(file)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return s, nil
}

func readStored(file *os.File) (*stored, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	size := info.Size() - footerSize
	if size < 0 || !info.Mode().IsRegular() {
		return nil, errTorn
	}
	b := make([]byte, footerSize)
	if _, err := file.ReadAt(b, size); err != nil {
		return nil, err
	}
	f, err := decodeFooter(b)
	if err != nil {
		return nil, err
	}
	return &stored{file, f, size}, nil
}

// statStored describes a file of the store.
func statStored(path string) (footer, int64, error) {
	s, err := openStored(path)
	if err != nil {
		return footer{}, 0, err
	}
	return s.footer, s.size, s.Close()
}

func (s *stored) info(key platform.BlobKey) platform.BlobInfo {
	return describeBlob(key, s.footer, s.size)
}

func describeBlob(key platform.BlobKey, f footer, size int64) platform.BlobInfo {
	return platform.BlobInfo{Key: key, Size: size, ETag: f.etag(), Modified: f.modified, Version: f.version()}
}

// reader reads the object's bytes from start, and closes the file.
func (s *stored) reader(start int64) io.ReadCloser {
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(s.File, start, s.size-start), s.File}
}

// draft is a file on its way into the store. It lies among the temporary files,
// which are swept when the store is opened, until it is placed.
type draft struct {
	*os.File
	size int64
	tag  platform.ETag
}

// copyBuffers bound the memory of copies.
var copyBuffers = sync.Pool{New: func() any { return new([128 << 10]byte) }}

// newDraft copies a body and finds its tag.
func newDraft(dir string, body io.Reader) (d *draft, err error) {
	d = &draft{}
	if d.File, err = os.CreateTemp(dir, "new-"); err != nil {
		return nil, err
	}
	sum := sha256.New()
	buffer := copyBuffers.Get().(*[128 << 10]byte)
	defer copyBuffers.Put(buffer)
	// The wrapper hides io.ReaderFrom of the file and io.WriterTo of the body, which
	// would bring buffers of their own.
	d.size, err = io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(d.File, sum)},
		struct{ io.Reader }{io.LimitReader(body, platform.MaxBlob+1)}, buffer[:])
	if err == nil && d.size > platform.MaxBlob {
		err = fmt.Errorf("a body of more than %d bytes, upload it in parts: %w", int64(platform.MaxBlob), platform.ErrTooLarge)
	}
	if err != nil {
		return nil, errors.Join(err, d.discard())
	}
	d.tag = etag.Of([sha256.Size]byte(sum.Sum(nil)))
	return d, nil
}

// finish writes the footer.
func (d *draft) finish(number uint64, now time.Time) (footer, error) {
	f, err := newFooter(d.tag, number, now)
	if err != nil {
		return f, err
	}
	_, err = d.Write(f.encode())
	return f, err
}

// discard closes the draft and removes its temporary name.
func (d *draft) discard() error { return errors.Join(d.Close(), os.Remove(d.Name())) }
