package report

import (
	"bytes"
	"io/fs"
	"path"
	"strings"
)

// goFunc is where a test function stands.
type goFunc struct {
	file string
	line int
}

// Limits of what is read of the workspace to find test functions.
const (
	maxGoFolders = 5000
	maxGoFile    = 2 << 20 // bytes
)

// goFunc finds a test of a package by its name: `go test` tells no file of those that
// pass, and files are what tests are shared out by.
func (r *Reader) goFunc(class, test string) (goFunc, bool) {
	if r.Files == nil || class == "" {
		return goFunc{}, false
	}
	test, _, _ = strings.Cut(test, "/")
	parts := strings.Split(class, "/")
	for i := range min(len(parts)+1, 9) { // the module's own folder last
		folder := path.Join(parts[i:]...)
		if folder == "" {
			folder = "."
		}
		if at, found := r.goFuncsOf(folder)[test]; found {
			return at, true
		}
	}
	return goFunc{}, false
}

func (r *Reader) goFuncsOf(folder string) map[string]goFunc {
	if known, read := r.goTests[folder]; read || len(r.goTests) >= maxGoFolders || !fs.ValidPath(folder) {
		return known
	}
	if r.goTests == nil {
		r.goTests = make(map[string]map[string]goFunc)
	}
	var found map[string]goFunc
	names, err := fs.ReadDir(r.Files, folder)
	for _, entry := range names {
		info, infoErr := entry.Info()
		if err != nil || infoErr != nil || !strings.HasSuffix(entry.Name(), "_test.go") || !info.Mode().IsRegular() || info.Size() > maxGoFile {
			continue
		}
		text, err := fs.ReadFile(r.Files, path.Join(folder, entry.Name()))
		if err != nil {
			continue
		}
		if found == nil {
			found = make(map[string]goFunc)
		}
		number := 0
		for line := range bytes.Lines(text) {
			number++
			if rest, is := bytes.CutPrefix(line, []byte("func ")); is {
				if name, _, _ := bytes.Cut(rest, []byte("(")); len(name) > 0 && len(name) < maxName {
					found[string(name)] = goFunc{r.name(path.Join(folder, entry.Name())), number}
				}
			}
		}
	}
	r.goTests[folder] = found
	return found
}
