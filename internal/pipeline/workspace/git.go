package workspace

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// borrowGit makes a git directory in dir that has the refs, index and HEAD of the
// one in root, and reads its objects. It names the files that it made.
//
// Source: gitrepository-layout(5), objects/info/alternates.
func borrowGit(root, dir string) ([]string, error) {
	private, common, err := gitFolders(root)
	if err != nil {
		return nil, err
	}
	var names []string
	put := func(name string, data []byte) error {
		path := filepath.Join(dir, ".git", name)
		names = append(names, filepath.Join(".git", name))
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
			return nil
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, data, 0o644)
	}
	carry := func(from, name string) error {
		data, err := os.ReadFile(filepath.Join(from, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return put(name, data)
	}
	config, err := os.ReadFile(filepath.Join(common, "config"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if bytes.Contains(config, []byte("worktree")) || len(config) == 0 { // it names a folder that is not this one
		config = []byte("[core]\n\trepositoryformatversion = 0\n\tbare = false\n")
	}
	err = errors.Join(
		put("config", config),
		put("objects/info/alternates", []byte(filepath.Join(common, "objects")+"\n")),
		carry(private, "HEAD"), carry(private, "index"),
		carry(common, "packed-refs"), carry(common, "shallow"), carry(common, "info/exclude"))
	if err != nil {
		return nil, err
	}
	err = filepath.WalkDir(filepath.Join(common, "refs"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(common, path)
		if err != nil {
			return err
		}
		return carry(common, name)
	})
	if len(names) > 0 && !hasPrefix(names, ".git/refs/") { // git wants the folder
		err = errors.Join(err, put("refs/.keep", nil))
	}
	return names, err
}

func hasPrefix(names []string, prefix string) bool {
	for _, name := range names {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// gitFolders are the git directory of a working tree and the one that it shares
// with others: two, where the tree is a linked one.
func gitFolders(root string) (private, common string, err error) {
	private = filepath.Join(root, ".git")
	info, err := os.Stat(private)
	if err != nil {
		return "", "", err
	}
	if !info.IsDir() {
		text, err := os.ReadFile(private)
		if err != nil {
			return "", "", err
		}
		private = within(root, strings.TrimPrefix(strings.TrimSpace(string(text)), "gitdir: "))
	}
	text, err := os.ReadFile(filepath.Join(private, "commondir"))
	if errors.Is(err, fs.ErrNotExist) {
		return private, private, nil
	}
	return private, within(private, strings.TrimSpace(string(text))), err
}

func within(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
