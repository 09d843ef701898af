// Package scan finds what a repository holds that the platform can work with: a
// tree in, findings with path and reason out. It proposes and never decides, reads
// no more than it needs of a file, and follows nothing.
package scan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Limits of a scan.
const (
	MaxFiles    = 200_000  // looked at
	MaxFindings = 1_000    // reported
	maxHead     = 64 << 10 // bytes read of a YAML file
	maxHCL      = 1 << 20  // bytes read of a Terraform file
)

// Kind is what was found.
type Kind string

// The kinds.
const (
	Pipeline  Kind = "pipeline"          // .buildit.kdl in any folder, .buildit/*.kdl in the root
	Terraform Kind = "terraform-root"    // a folder to plan and apply, no module
	Manifests Kind = "manifests"         // a folder of plain Kubernetes objects
	Overlay   Kind = "kustomize-overlay" // a kustomization that no other one builds on
	Base      Kind = "kustomize-base"    // one that another builds on
	Chart     Kind = "helm-chart"
)

// Finding is one thing that was found. Path is a file for pipelines, else a folder
// ("." is the root).
type Finding struct {
	Kind   Kind   `json:"kind"`
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

// Result is what a scan found, by kind and path.
type Result struct {
	Findings []Finding `json:"findings"`
	Files    int       `json:"files"`             // looked at
	Notices  []string  `json:"notices,omitempty"` // what could not be looked at, or was too much
}

// skipped are folders whose contents are other people's, or generated.
var skipped = []string{".git", ".terraform", "node_modules", "vendor"}

// Scan looks at every file of tree.
func Scan(ctx context.Context, tree fs.FS) (Result, error) {
	s := &scanner{tree: tree, folders: map[string]*folder{}}
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if slices.Contains(skipped, entry.Name()) {
				return fs.SkipDir
			}
			return ctx.Err()
		}
		if s.result.Files++; s.result.Files > MaxFiles {
			s.notice("only the first %d files were looked at", MaxFiles)
			return fs.SkipAll
		}
		return s.file(name, entry)
	})
	if err != nil {
		return Result{}, err
	}
	s.conclude()
	return s.result, nil
}

// folder is what the files of one folder say.
type folder struct {
	hcl      *module
	kustom   *kustomization
	chart    *chart
	objects  []string // kinds of Kubernetes objects, in order
	manifest int      // files that hold them
}

type scanner struct {
	tree    fs.FS
	folders map[string]*folder
	result  Result
}

func (s *scanner) folder(name string) *folder {
	if s.folders[name] == nil {
		s.folders[name] = &folder{}
	}
	return s.folders[name]
}

func (s *scanner) notice(format string, args ...any) {
	s.result.Notices = append(s.result.Notices, fmt.Sprintf(format, args...))
}

func (s *scanner) found(kind Kind, at, format string, args ...any) {
	s.result.Findings = append(s.result.Findings, Finding{kind, at, fmt.Sprintf(format, args...)})
}

func (s *scanner) file(name string, entry fs.DirEntry) error {
	if !entry.Type().IsRegular() {
		return nil
	}
	dir, base := path.Split(name)
	dir = path.Clean(dir)
	switch ext := path.Ext(base); {
	case base == ".buildit.kdl":
		s.found(Pipeline, name, "a file named .buildit.kdl is a pipeline in any folder")
	case ext == ".kdl" && dir == ".buildit":
		s.found(Pipeline, name, "every *.kdl in .buildit is a pipeline")
	case ext == ".tf", ext == ".tofu":
		return s.hcl(name, dir)
	case base == "Chart.yaml":
		return s.chart(name, dir)
	case base == "kustomization.yaml", base == "kustomization.yml", base == "Kustomization":
		return s.kustomization(name, dir)
	case ext == ".yaml", ext == ".yml":
		return s.manifest(name, dir)
	}
	return nil
}

// head reads the first bytes of a file.
func (s *scanner) head(name string, limit int64) (data []byte, err error) {
	f, err := s.tree.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, limit))
}

func (s *scanner) conclude() {
	s.concludeTerraform()
	s.concludeKustomize()
	s.concludeCharts()
	s.concludeManifests()
	slices.SortFunc(s.result.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Path, b.Path))
	})
	if n := len(s.result.Findings); n > MaxFindings {
		s.notice("%d findings, of which the first %d are listed", n, MaxFindings)
		s.result.Findings = s.result.Findings[:MaxFindings]
	}
}

// above says whether one of the folders from dir upwards, dir included, holds is.
func (s *scanner) above(dir string, is func(*folder) bool) (string, bool) {
	for {
		if f := s.folders[dir]; f != nil && is(f) {
			return dir, true
		}
		if dir == "." {
			return "", false
		}
		dir = path.Dir(dir)
	}
}

// local resolves a reference that begins in dir, "" if it leaves the repository or
// is no path.
func local(dir, reference string) string {
	if strings.Contains(reference, "://") || path.IsAbs(reference) {
		return ""
	}
	at := path.Join(dir, reference)
	if at == ".." || strings.HasPrefix(at, "../") {
		return ""
	}
	return at
}
