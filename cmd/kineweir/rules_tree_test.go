package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const modulePath = "github.com/kineweir/kineweir"

// tree is the source of the module, parsed: what the rules are about.
type tree struct {
	root    fs.FS
	fset    *token.FileSet
	ignored []string // names in the top folder that git ignores
	pkgs    []*sourcePackage
}

// sourcePackage is one folder with Go files.
type sourcePackage struct {
	dir   string // from the top of the module, with slashes
	files []*sourceFile
}

type sourceFile struct {
	path string
	test bool
	ast  *ast.File
}

// loadTree parses every Go file below root but those of nested modules,
// testdata and folders that begin with a dot.
func loadTree(root fs.FS) (*tree, error) {
	t := &tree{root: root, fset: token.NewFileSet()}
	t.ignored = ignoredNames(root)
	byDir := map[string]*sourcePackage{}
	err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return t.enter(p)
		}
		if path.Ext(p) != ".go" {
			return nil
		}
		f, err := t.parse(p)
		if err != nil || f == nil {
			return err
		}
		dir := path.Dir(p)
		if byDir[dir] == nil {
			byDir[dir] = &sourcePackage{dir: dir}
			t.pkgs = append(t.pkgs, byDir[dir])
		}
		byDir[dir].files = append(byDir[dir].files, f)
		return nil
	})
	return t, err
}

// enter says whether the walk goes into the folder p.
func (t *tree) enter(p string) error {
	name := path.Base(p)
	switch {
	case p == ".":
		return nil
	case name[0] == '.', name == "testdata", name == "node_modules", slices.Contains(t.ignored, p):
		return fs.SkipDir
	}
	if _, err := fs.Stat(t.root, p+"/go.mod"); err == nil {
		return fs.SkipDir
	}
	return nil
}

// parse returns nil for a file that is not part of any build.
func (t *tree) parse(p string) (*sourceFile, error) {
	src, err := fs.ReadFile(t.root, p)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(string(src), "//go:build ignore") {
		return nil, nil
	}
	f, err := parser.ParseFile(t.fset, p, src, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	return &sourceFile{path: p, test: strings.HasSuffix(p, "_test.go"), ast: f}, nil
}

// at prefixes a finding with its place.
func (t *tree) at(n ast.Node, format string, args ...any) string {
	p := t.fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d: ", p.Filename, p.Line) + fmt.Sprintf(format, args...)
}

// product yields the files that are built into the product, not tests.
func (t *tree) product(yield func(*sourcePackage, *sourceFile) bool) {
	for _, p := range t.pkgs {
		for _, f := range p.files {
			if !f.test && !yield(p, f) {
				return
			}
		}
	}
}

// imports yields what a file imports, by path.
func (f *sourceFile) imports(yield func(*ast.ImportSpec, string) bool) {
	for _, s := range f.ast.Imports {
		p, err := strconv.Unquote(s.Path.Value)
		if err == nil && !yield(s, p) {
			return
		}
	}
}

// ownImport returns the folder of an import of this module.
func ownImport(importPath string) (dir string, ok bool) {
	return strings.CutPrefix(importPath, modulePath+"/")
}

// ignoredNames returns the lines of .gitignore that name something in the top
// folder: "/bin/" is "bin".
func ignoredNames(root fs.FS) []string {
	text, err := fs.ReadFile(root, ".gitignore")
	if err != nil {
		return nil
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "/"); ok {
			names = append(names, strings.TrimSuffix(name, "/"))
		}
	}
	return names
}

func mustLoadTree(t *testing.T, root fs.FS) *tree {
	t.Helper()
	tr, err := loadTree(root)
	if err != nil {
		t.Fatalf("parse the module: %v", err)
	}
	return tr
}
