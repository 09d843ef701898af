package supervisor

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Limits of a file artifact (pipelines.md 3.9).
const (
	MaxArtifactFiles = 100_000
	MaxArtifactBytes = 10 << 30
	maxArtifactPath  = 1 << 10 // bytes
	maxManifest      = 256 << 20
)

// Manifest lists what a file artifact holds, sorted by path. Its canonical form is
// one line of JSON without spaces; the artifact's digest is that of this form.
type Manifest struct {
	V     int    `json:"v"`
	Files []File `json:"files"`
}

// File is one file, or a link that stays inside the artifact's folder.
type File struct {
	Path   string `json:"path"`
	X      bool   `json:"x,omitempty"` // may be executed
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256,omitempty"` // hex; "" for a link
	Link   string `json:"link,omitempty"`
}

// Encode is the canonical form of m, as an object to upload, and its bytes.
func (m *Manifest) Encode(name string) (Object, []byte, error) {
	slices.SortFunc(m.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(m); err != nil {
		return Object{}, nil, err
	}
	form := bytes.TrimSuffix(text.Bytes(), []byte{'\n'})
	sum := sha256.Sum256(form)
	return Object{Kind: "artifact", Name: name, SHA256: hex.EncodeToString(sum[:]), Size: int64(len(form))}, form, nil
}

// ParseManifest reads a manifest and refuses one that could write outside the
// folder it is unpacked into, or beyond the limits.
func ParseManifest(form []byte) (*Manifest, error) {
	var m Manifest
	decoder := json.NewDecoder(bytes.NewReader(form))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&m); err != nil {
		return nil, fmt.Errorf("the manifest is not valid: %w", err)
	}
	if m.V != 1 || len(m.Files) > MaxArtifactFiles {
		return nil, fmt.Errorf("the manifest has version %d and %d files; version 1 and %d files are allowed", m.V, len(m.Files), MaxArtifactFiles)
	}
	total, last := int64(0), ""
	for _, f := range m.Files {
		if f.Path <= last {
			return nil, fmt.Errorf("the manifest is not sorted at %q", f.Path)
		}
		last = f.Path
		if err := f.check(); err != nil {
			return nil, err
		}
		if total += f.Size; total > MaxArtifactBytes {
			return nil, fmt.Errorf("the artifact has more than %d bytes", int64(MaxArtifactBytes))
		}
	}
	return &m, nil
}

func (f *File) check() error {
	if len(f.Path) > maxArtifactPath || !filepath.IsLocal(f.Path) || filepath.Clean(f.Path) != f.Path || f.Path == "." {
		return &ArchiveError{f.Path, "has a path that is not allowed"}
	}
	if f.Link != "" {
		if f.Size != 0 || f.SHA256 != "" {
			return &ArchiveError{f.Path, "is a link with bytes"}
		}
		return CheckLink(f.Path, f.Link)
	}
	if sum, err := hex.DecodeString(f.SHA256); err != nil || len(sum) != sha256.Size || f.Size < 0 || strings.ToLower(f.SHA256) != f.SHA256 {
		return &ArchiveError{f.Path, "has no valid digest and size"}
	}
	return nil
}

// Blobs are the objects that hold the bytes of the files, each once.
func (m *Manifest) Blobs() []Object {
	seen := map[string]bool{}
	var list []Object
	for _, f := range m.Files {
		if f.Link == "" && !seen[f.SHA256] {
			seen[f.SHA256] = true
			list = append(list, f.blob())
		}
	}
	return list
}

func (f *File) blob() Object {
	return Object{Kind: "blob", Name: f.SHA256, SHA256: f.SHA256, Size: f.Size}
}
