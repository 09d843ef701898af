package git

import (
	"path"
	"strings"
	"unicode"

	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// nameFault says why a name of a tree must never become a file, "" if it may.
//
// Source: git-config(1), core.protectHFS and core.protectNTFS; git's fsck.c.
func nameFault(name string) string {
	switch {
	case name == "":
		return "it is empty"
	case name == ".", name == "..":
		return "it leads out of its folder"
	case strings.ContainsAny(name, "/\\\x00"):
		return "it holds a slash, a backslash or a zero byte"
	case isDotGit(name):
		return "it is, or becomes on some file systems, the folder of git itself"
	}
	return ""
}

// isDotGit knows every name that a file system may take for .git: other case,
// characters that HFS+ ignores, blanks and dots at the end and streams of NTFS, and
// its short name.
func isDotGit(name string) bool {
	plain := strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cf, r) || r == '\uFEFF' {
			return -1
		}
		return unicode.ToLower(r)
	}, name)
	plain, _, _ = strings.Cut(plain, ":")
	plain = strings.TrimRight(plain, " .")
	return plain == ".git" || plain == "git~1"
}

// linkLeaves says whether a symbolic link at file leads out of the tree, read word
// by word. Such a link travels as a file that holds its target, as git itself
// writes it where core.symlinks is off.
func linkLeaves(file, target string) bool {
	if path.IsAbs(target) || strings.ContainsAny(target, "\\\x00") || target == "" {
		return true
	}
	at := path.Join(path.Dir(file), target)
	if at == ".." || strings.HasPrefix(at, "../") {
		return true
	}
	for part := range strings.SplitSeq(at, "/") {
		if isDotGit(part) {
			return true
		}
	}
	return false
}

// clash says why two names of one folder cannot both be written, "" if they can.
// Two files that differ in case alone are the user's business; a link or a folder
// among them can lead a write elsewhere on a file system that folds case.
func clash(a, b entry) string {
	if a.name == b.name {
		return "it is there twice"
	}
	if a.mode.IsFile() && b.mode.IsFile() && a.mode != filemode.Symlink && b.mode != filemode.Symlink {
		return ""
	}
	return "it is " + b.name + " in other case, and one of them is a folder or a link"
}
