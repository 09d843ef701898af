package scan

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// module is what the Terraform files of a folder say.
type module struct {
	files    []string
	backend  string // `backend "s3" in main.tf`
	provider string
	settings bool // a terraform block
	things   bool // resources, data or calls of modules
	calls    []string
}

func (s *scanner) hcl(name, dir string) error {
	data, err := s.head(name, maxHCL)
	if err != nil {
		return err
	}
	f := s.folder(dir)
	if f.hcl == nil {
		f.hcl = &module{}
	}
	m, base := f.hcl, path.Base(name)
	m.files = append(m.files, base)
	blocks(string(data), func(b block) {
		switch {
		case b.is("terraform", "backend") && m.backend == "":
			m.backend = `backend "` + b.label + `" in ` + base
		case b.is("terraform", "cloud") && m.backend == "":
			m.backend = "a cloud block in " + base
		case b.is("terraform"):
			m.settings = true
		case b.is("provider") && m.provider == "":
			m.provider = `provider "` + b.label + `" in ` + base
		case b.is("module", "source"):
			m.calls = append(m.calls, b.label)
		case b.is("resource"), b.is("data"), b.is("module"):
			m.things = true
		}
	})
	return nil
}

// concludeTerraform tells roots from modules. A backend makes a root whoever calls
// it; a folder that another one calls is a module; of the rest, what configures
// Terraform or a provider is a root, and what merely holds resources is one unless
// it lies where modules are kept.
func (s *scanner) concludeTerraform() {
	called := map[string]string{}
	for _, dir := range slices.Sorted(maps.Keys(s.folders)) {
		if m := s.folders[dir].hcl; m != nil {
			for _, source := range m.calls {
				if strings.HasPrefix(source, "./") || strings.HasPrefix(source, "../") {
					if at := local(dir, source); at != "" && at != dir {
						called[at] = dir
					}
				}
			}
		}
	}
	for dir, f := range s.folders {
		m := f.hcl
		if m == nil {
			continue
		}
		_, isCalled := called[dir]
		switch {
		case m.backend != "":
			s.found(Terraform, dir, "%s: it keeps a state of its own", m.backend)
		case isCalled:
		case m.provider != "":
			s.found(Terraform, dir, "%s, and no other folder calls it as a module", m.provider)
		case keepsModules(dir):
		case m.settings:
			s.found(Terraform, dir, "a terraform block, and no other folder calls it as a module")
		case m.things:
			s.found(Terraform, dir, "resources in %s, and no other folder calls it as a module", m.files[0])
		}
	}
}

func keepsModules(dir string) bool {
	for part := range strings.SplitSeq(dir, "/") {
		if part == "modules" || part == "module" {
			return true
		}
	}
	return false
}
