package report

import (
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/buildit-dev/buildit/internal/pattern"
)

// maxLine is the highest number of a line that is believed.
const maxLine = 10_000_000

// place finds the file of a case, below the workspace, and its line: from what the
// report says, from the case's class, or from the first place that the failure's text
// names and that is there.
func (r *Reader) place(c *Case, text string) {
	if c.Line < 0 || c.Line > maxLine {
		c.Line = 0
	}
	folders := classFolders(c.Class)
	if named := r.below(c.File); named != "" {
		c.File = firstOf(r.found(named, folders), named)
	} else {
		c.File = r.ofClass(c.Class)
	}
	if c.Status == Failed && (c.File == "" || c.Line == 0) {
		r.placeOfText(c, text, folders)
	}
	c.File = cut(c.File, maxName)
}

// placeText is path:line, or path(line) as some compilers write it.
var placeText = pattern.Late(`([\w@+~./\\-]+\.\w{1,8})(?::|", line |\()(\d{1,8})`)

// maxPlaces bounds the places of a text that are looked at.
const maxPlaces = 50

func (r *Reader) placeOfText(c *Case, text string, folders []string) {
	for _, m := range placeText().FindAllStringSubmatch(text, maxPlaces) {
		line, err := strconv.Atoi(m[2])
		if err != nil || line < 1 || line > maxLine {
			continue
		}
		found := r.found(r.below(m[1]), folders)
		if found == "" || c.File != "" && r.exists(c.File) && found != c.File {
			continue
		}
		c.File, c.Line = found, line
		return
	}
}

// below is a path as one below the workspace, "" for one that is not.
func (r *Reader) below(name string) string {
	name = strings.ReplaceAll(strings.TrimPrefix(strings.TrimSpace(name), "file://"), `\`, "/")
	if root := strings.TrimSuffix(r.Root, "/"); root != "" {
		name = strings.TrimPrefix(name, root+"/")
	}
	if name == "" || len(name) > maxName || strings.HasPrefix(name, "/") {
		return ""
	}
	name = r.name(path.Clean(name))
	if name == "." || name == ".." || strings.HasPrefix(name, "../") {
		return ""
	}
	return name
}

// found is where a file of that name is: as it is named, or in one of the folders.
func (r *Reader) found(name string, folders []string) string {
	if name == "" || r.Files == nil {
		return ""
	}
	if r.exists(name) {
		return name
	}
	for _, folder := range folders {
		if in := path.Join(folder, name); r.exists(in) {
			return in
		}
	}
	return ""
}

// maxKnown bounds what is remembered of the workspace.
const maxKnown = 20_000

func (r *Reader) exists(name string) bool {
	if r.Files == nil || name == "" {
		return false
	}
	there, known := r.known[name]
	if known {
		return there
	}
	if r.known == nil || len(r.known) >= maxKnown {
		r.known = make(map[string]bool)
	}
	info, err := fs.Stat(r.Files, name)
	there = err == nil && info.Mode().IsRegular()
	r.known[name] = there
	return there
}

// sourceRoots are where build tools keep the code of tests.
var sourceRoots = []string{"", "src/test/java", "src/test/kotlin", "src/test/scala", "src", "test", "tests", "lib"}

// classFolders are folders that a class may lie in: those of a Go package by its
// import path, those of a Java or Python class by its name.
func classFolders(class string) []string {
	if class == "" || len(class) > maxName {
		return nil
	}
	var folders []string
	if strings.Contains(class, "/") { // example.com/acme/shop/cart
		parts := strings.Split(class, "/")
		for i := range min(len(parts), 8) {
			folders = append(folders, strings.Join(parts[i:], "/"))
		}
		return folders
	}
	folder := path.Dir(strings.ReplaceAll(class, ".", "/"))
	for _, root := range sourceRoots {
		folders = append(folders, path.Join(root, folder))
	}
	return folders
}

// ofClass is the file that a class is named after: tests.test_cart.TestCart is
// tests/test_cart.py, com.acme.CartTest is src/test/java/com/acme/CartTest.java.
func (r *Reader) ofClass(class string) string {
	if r.Files == nil || class == "" || len(class) > maxName || strings.ContainsAny(class, "/ ") {
		return ""
	}
	name := strings.ReplaceAll(class, ".", "/")
	name, _, _ = strings.Cut(name, "$")
	for range 2 {
		if found := r.found(r.below(name+".py"), nil); found != "" {
			return found
		}
		for _, root := range sourceRoots[1:4] {
			for _, ending := range []string{".java", ".kt", ".scala"} {
				if file := path.Join(root, name+ending); r.exists(file) {
					return file
				}
			}
		}
		if name = path.Dir(name); name == "." {
			break
		}
	}
	return ""
}
