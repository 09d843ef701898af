package internal_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/golden"
)

// guarded are the functions of package platform that open a door: who names an
// organization without a caller's proof, or a row without an organization.
var guarded = []string{"System", "Verified", "StoredKey", "StoredBlobKey"}

// TestWhoNamesAnOrganization pins every caller of a guarded function (trust.md
// T18): a new line in the golden file is a change of who may reach whose rows, and
// is reviewed as one.
func TestWhoNamesAnOrganization(t *testing.T) {
	root := golden.Root(t)
	var lines []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && path != root {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") ||
			strings.Contains(path, "platformtest") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		lines = append(lines, guardedCalls(filepath.ToSlash(rel), file)...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	golden.Equal(t, "callers.txt", strings.Join(slices.Compact(lines), "\n")+"\n")
}

func guardedCalls(path string, file *ast.File) []string {
	var lines []string
	for _, decl := range file.Decls {
		name := "(package)"
		if fn, ok := decl.(*ast.FuncDecl); ok {
			name = fn.Name.Name
		}
		ast.Inspect(decl, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || !slices.Contains(guarded, sel.Sel.Name) {
				return true
			}
			if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "platform" {
				lines = append(lines, fmt.Sprintf("%-13s %s: %s", sel.Sel.Name, path, name))
			}
			return true
		})
	}
	return lines
}
