package supervisor

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Limits are the caps on an archive that came from outside.
type Limits struct {
	Bytes int64 // of all files together, unpacked
	Files int   // entries
	Ratio int64 // unpacked to packed bytes, beyond the first MiB
}

// SourceLimits are those of a source bundle (pipelines.md 5.5, trust.md T42).
var SourceLimits = Limits{Bytes: 5 << 30, Files: 1_000_000, Ratio: 200}

const (
	maxPath   = 4 << 10 // bytes, Linux PATH_MAX
	maxDepth  = 255     // folders
	freeRatio = 1 << 20 // bytes that may come of next to nothing
)

// ArchiveError says what an archive holds that must not be unpacked.
type ArchiveError struct {
	Entry  string
	Reason string
}

func (e *ArchiveError) Error() string {
	if e.Entry == "" {
		return "the archive " + e.Reason
	}
	return fmt.Sprintf("the archive's entry %q %s", e.Entry, e.Reason)
}

// Unpacked is what came of an archive.
type Unpacked struct {
	Files int
	Bytes int64
}

// Unpack reads a tar.gz into root: folders, files, and links that stay inside.
// Anything else ends it with an *ArchiveError: a path or link that leaves root, an
// entry below a link, a device, a cap passed. Nothing is ever written outside
// root; what was unpacked before the error stays there.
func Unpack(root *os.Root, archive io.Reader, limits Limits) (Unpacked, error) {
	packed := &counter{from: archive}
	plain, err := gzip.NewReader(packed)
	if err != nil {
		return Unpacked{}, &ArchiveError{"", "is no gzip: " + err.Error()}
	}
	u := &unpacker{root: root, limits: limits, packed: packed, folders: map[string]bool{".": true}}
	entries := tar.NewReader(&capped{u: u, from: plain})
	for {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return u.done, nil
		}
		if err == nil {
			err = u.entry(header, entries)
		}
		if err != nil {
			return u.done, archiveError(header, err)
		}
	}
}

// archiveError tells damage of the archive from trouble of the disk.
func archiveError(header *tar.Header, err error) error {
	var bad *ArchiveError
	var disk *os.PathError
	var link *os.LinkError
	if errors.As(err, &bad) || errors.As(err, &disk) || errors.As(err, &link) {
		return err
	}
	name := ""
	if header != nil {
		name = header.Name
	}
	return &ArchiveError{name, "cannot be read: " + err.Error()}
}

type unpacker struct {
	root    *os.Root
	limits  Limits
	packed  *counter
	plain   int64           // bytes out of gzip
	folders map[string]bool // known to be folders and no links
	done    Unpacked
}

// entry unpacks one entry.
func (u *unpacker) entry(header *tar.Header, body io.Reader) error {
	if header.Typeflag == tar.TypeXGlobalHeader {
		return nil // the comment of git archive
	}
	if u.done.Files++; u.done.Files > u.limits.Files {
		return &ArchiveError{"", fmt.Sprintf("has more than %d entries", u.limits.Files)}
	}
	name, err := entryPath(header.Name)
	if err != nil {
		return err
	}
	if header.Typeflag == tar.TypeDir {
		return u.folder(name)
	}
	if name == "." {
		return &ArchiveError{header.Name, "is the folder itself, and no folder"}
	}
	if err := u.folder(path.Dir(name)); err != nil {
		return err
	}
	switch header.Typeflag {
	case tar.TypeReg:
		return u.file(name, header, body)
	case tar.TypeSymlink:
		return u.symlink(name, header.Linkname)
	case tar.TypeLink:
		return u.hardLink(name, header.Linkname)
	}
	return &ArchiveError{header.Name, "is neither a folder nor a file nor a link"}
}

// entryPath is the clean path of an entry, which must be inside.
func entryPath(name string) (string, error) {
	clean := path.Clean(strings.TrimSuffix(name, "/"))
	switch {
	case name == "" || strings.ContainsRune(name, 0) || !filepath.IsLocal(name):
		return "", &ArchiveError{name, "is outside the folder"}
	case len(clean) > maxPath || strings.Count(clean, "/") > maxDepth:
		return "", &ArchiveError{clean[:min(len(clean), 100)], "has a path that is too long"}
	}
	return clean, nil
}

// folder makes a folder and those above it. None of them may be a link: what is
// below a link is not where its path says.
func (u *unpacker) folder(name string) error {
	if u.folders[name] {
		return nil
	}
	if err := u.folder(path.Dir(name)); err != nil {
		return err
	}
	err := u.root.Mkdir(name, 0o755)
	if errors.Is(err, os.ErrExist) {
		info, statErr := u.root.Lstat(name)
		if statErr == nil && !info.IsDir() {
			return &ArchiveError{name, "is a folder, but the same path is a file or link too"}
		}
		err = statErr
	}
	if err == nil {
		u.folders[name] = true
	}
	return err
}

// clear makes room for a file or link: the last entry of a path counts.
func (u *unpacker) clear(name string) error {
	if u.folders[name] {
		return &ArchiveError{name, "is a file or link, but the same path is a folder too"}
	}
	err := u.root.Remove(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// file writes a file; of its mode only the execute bit counts.
func (u *unpacker) file(name string, header *tar.Header, body io.Reader) error {
	if u.done.Bytes+header.Size > u.limits.Bytes {
		return &ArchiveError{"", fmt.Sprintf("has more than %d bytes", u.limits.Bytes)}
	}
	mode := os.FileMode(0o644)
	if header.Mode&0o111 != 0 {
		mode = 0o755
	}
	file, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, os.ErrExist) {
		if err = u.clear(name); err == nil {
			file, err = u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		}
	}
	if err != nil {
		return err
	}
	n, err := io.Copy(file, body)
	u.done.Bytes += n
	return errors.Join(err, file.Close())
}

// symlink makes a link that stays inside, even if nothing is there yet. Leading
// ".." may climb as far as root; a ".." behind a name could climb from wherever
// that name leads, and is refused. Since no entry is below a link, the path that
// is written is the path that is meant.
func (u *unpacker) symlink(name, target string) error {
	if err := CheckLink(name, target); err != nil {
		return err
	}
	if err := u.clear(name); err != nil {
		return err
	}
	return u.root.Symlink(target, name)
}

// CheckLink tells whether a symbolic link at name leads somewhere inside the
// folder that name is relative to, by its text alone.
func CheckLink(name, target string) error {
	if target == "" || len(target) > maxPath || path.IsAbs(target) || strings.ContainsRune(target, 0) {
		return &ArchiveError{name, fmt.Sprintf("links to %q, which is outside the folder", target)}
	}
	up, named := 0, false
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if up++; named || up > strings.Count(name, "/") {
				return &ArchiveError{name, fmt.Sprintf("links to %q, which is outside the folder", target)}
			}
		default:
			named = true
		}
	}
	return nil
}

// hardLink links to a file that is inside and there already.
func (u *unpacker) hardLink(name, target string) error {
	target, err := entryPath(target)
	if err != nil {
		return &ArchiveError{name, "links to a path outside the folder"}
	}
	for dir := path.Dir(target); dir != "."; dir = path.Dir(dir) {
		if !u.folders[dir] {
			return &ArchiveError{name, "links to a file that is not in the archive"}
		}
	}
	info, err := u.root.Lstat(target)
	if err != nil || !info.Mode().IsRegular() {
		return &ArchiveError{name, "links to a file that is not in the archive"}
	}
	if err := u.clear(name); err != nil {
		return err
	}
	return u.root.Link(target, name)
}

// counter counts what is read.
type counter struct {
	from io.Reader
	n    int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n += int64(n)
	return n, err
}

// capped ends an archive that swells: a tar may hold more than its files.
type capped struct {
	u    *unpacker
	from io.Reader
}

// overhead is what a tar may hold besides the bytes of its files, for each entry
// that is allowed: headers, padding, long names.
const overhead = 8 << 10

func (c *capped) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	u := c.u
	u.plain += int64(n)
	if u.plain > freeRatio && u.plain > u.limits.Ratio*u.packed.n {
		return 0, &ArchiveError{"", fmt.Sprintf("swells to more than %d times its size", u.limits.Ratio)}
	}
	if u.plain > u.limits.Bytes+overhead*int64(u.done.Files+2) {
		return 0, &ArchiveError{"", fmt.Sprintf("has more than %d bytes", u.limits.Bytes)}
	}
	return n, err
}
