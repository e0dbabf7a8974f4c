package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rule is something that holds in the whole module. Its check returns what
// breaks it, one line each.
type rule struct {
	name, why string
	check     func(*tree) []string
}

var rules = []rule{
	{"floors", "what stands below must be understood, tested and replaced without what stands above", checkFloors},
	{"two ways", "two folders that import each other are one folder with two names", checkTwoWays},
	{"foreign", "a library that one package wraps can be changed in one package", checkForeign},
	{"top folder", "the first listing a reader sees is the design, nothing else", checkTopFolder},
	{"names", "a package is named for what it provides; a drawer has no owner and grows for ever", checkNames},
	{"package comment", "whoever opens a folder learns first what it is for and what it never does", checkPackageComments},
	{"documented", "an exported name is a promise; a promise has words", checkDocumented},
	{"no init", "what happens is called from main, in an order one can read", checkInit},
	{"no mutable variables", "state has an owner; two servers in one process must not meet", checkVariables},
	{"no testing", "test scaffolding is no part of the product", checkTesting},
	{"go.mod", "pinned versions are those that were measured; others are known to break", checkGoMod},
}

// TestRules holds the module to its rules.
func TestRules(t *testing.T) {
	tr := mustLoadTree(t, os.DirFS("../.."))
	if len(tr.pkgs) < 5 {
		t.Fatalf("found %d packages: this is not the module", len(tr.pkgs))
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			for _, b := range r.check(tr) {
				t.Errorf("%s\n\trule %q: %s", b, r.name, r.why)
			}
		})
	}
}

var (
	topFolders = []string{"cmd", "ingest", "fragments", "archive", "playback", "datastream", "firehose", "web"}
	topFiles   = []string{"go.mod", "go.sum", "README.md", "LICENSE", "Makefile"}
)

func checkTopFolder(t *tree) (bad []string) {
	entries, err := fs.ReadDir(t.root, ".")
	if err != nil {
		return []string{err.Error()}
	}
	for _, e := range entries {
		known := topFiles
		if e.IsDir() {
			known = topFolders
		}
		if e.Name()[0] != '.' && !slices.Contains(known, e.Name()) && !slices.Contains(t.ignored, e.Name()) {
			bad = append(bad, e.Name()+": does not belong in the top folder")
		}
	}
	return bad
}

var drawers = []string{"internal", "pkg", "util", "utils", "common", "types", "helper", "helpers", "manager", "managers", "misc", "shared", "base", "defs", "lib"}

func checkNames(t *tree) (bad []string) {
	for _, p := range t.pkgs {
		for name := range strings.SplitSeq(p.dir, "/") {
			if slices.Contains(drawers, name) {
				bad = append(bad, fmt.Sprintf("%s: %q says nothing", p.dir, name))
			}
		}
		for _, f := range p.files {
			if slices.Contains(drawers, f.ast.Name.Name) {
				bad = append(bad, t.at(f.ast.Name, "package name %q says nothing", f.ast.Name.Name))
			}
		}
	}
	return bad
}

func checkPackageComments(t *tree) (bad []string) {
	for _, p := range t.pkgs {
		name, doc := "", ""
		for _, f := range p.files {
			if !f.test {
				name = f.ast.Name.Name
				doc += f.ast.Doc.Text()
			}
		}
		want := "Package " + name + " "
		if name == "main" {
			want = "Command "
		}
		switch {
		case name == "": // tests only
		case !strings.HasPrefix(doc, want):
			bad = append(bad, fmt.Sprintf("%s: no package comment that begins with %q", p.dir, want))
		case len(doc) < 100:
			bad = append(bad, fmt.Sprintf("%s: the package comment is too short to say what it is for, what it owns and what it never does", p.dir))
		}
	}
	return bad
}

func checkDocumented(t *tree) (bad []string) {
	for _, f := range t.product {
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && exportedReceiver(d) && d.Doc == nil {
					bad = append(bad, t.at(d, "%s has no comment", d.Name.Name))
				}
			case *ast.GenDecl:
				bad = append(bad, undocumentedSpecs(t, d)...)
			}
		}
	}
	return bad
}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.IndexListExpr:
			typ = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return true
		}
	}
}

func undocumentedSpecs(t *tree, d *ast.GenDecl) (bad []string) {
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() && d.Doc == nil && s.Doc == nil {
				bad = append(bad, t.at(s, "type %s has no comment", s.Name.Name))
			}
		case *ast.ValueSpec:
			if s.Names[0].IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
				bad = append(bad, t.at(s, "%s has no comment", s.Names[0].Name))
			}
		}
	}
	return bad
}

func checkInit(t *tree) (bad []string) {
	for _, f := range t.product {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				bad = append(bad, t.at(fn, "func init"))
			}
		}
	}
	return bad
}

// checkVariables finds assignments to package variables, or to what is in
// them, anywhere in a function. What only methods change stays unseen.
func checkVariables(t *tree) (bad []string) {
	for _, p := range t.pkgs {
		vars := packageVariables(p)
		for _, f := range p.files {
			if f.test {
				continue
			}
			ast.Inspect(f.ast, func(n ast.Node) bool {
				for _, target := range assigned(n) {
					id := root(target)
					if id != nil && vars[id.Name] != nil && (id.Obj == nil || id.Obj.Decl == vars[id.Name]) {
						bad = append(bad, t.at(id, "package variable %s is changed", id.Name))
					}
				}
				return true
			})
		}
	}
	return bad
}

func packageVariables(p *sourcePackage) map[string]*ast.ValueSpec {
	vars := map[string]*ast.ValueSpec{}
	for _, f := range p.files {
		for _, d := range f.ast.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR || f.test {
				continue
			}
			for _, s := range g.Specs {
				for _, name := range s.(*ast.ValueSpec).Names {
					if name.Name == "_" {
						continue // Nothing is kept there.
					}
					vars[name.Name] = s.(*ast.ValueSpec)
				}
			}
		}
	}
	return vars
}

// assigned returns what a statement assigns to.
func assigned(n ast.Node) []ast.Expr {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			return n.Lhs
		}
	case *ast.IncDecStmt:
		return []ast.Expr{n.X}
	}
	return nil
}

// root returns the variable that an expression such as a.b[c].d begins with.
func root(x ast.Expr) *ast.Ident {
	for {
		switch e := x.(type) {
		case *ast.Ident:
			return e
		case *ast.SelectorExpr:
			x = e.X
		case *ast.IndexExpr:
			x = e.X
		case *ast.StarExpr:
			x = e.X
		case *ast.ParenExpr:
			x = e.X
		default:
			return nil
		}
	}
}

// suites are the packages that are test scaffolding by purpose: one conformance
// suite for all implementations of an interface, and the archive in memory that
// the packages below playback share in their tests.
var suites = []string{"archive/bucket/buckettest", "datastream/journal/journaltest", "firehose/desttest", "playback/playbacktest"}

func checkTesting(t *tree) (bad []string) {
	for p, f := range t.product {
		for spec, imp := range f.imports {
			dir, own := ownImport(imp)
			scaffold := imp == "testing" || strings.HasPrefix(imp, "testing/") || own && slices.Contains(suites, dir)
			if scaffold && !slices.Contains(suites, p.dir) {
				bad = append(bad, t.at(spec, "%s imports %s", p.dir, imp))
			}
		}
	}
	return bad
}

// pins are the lines go.mod must have, and why.
var pins = []struct{ line, why string }{
	{"module " + modulePath, "the import path"},
	{"go 1.26.0", "the language the code is written in"},
	{"github.com/bluenviron/gortsplib/v4 v4.16.2", "v4.16.3 is an empty stub"},
	{"github.com/bluenviron/mediacommon/v2 v2.9.3", "the version whose boxes were compared byte by byte"},
}

func checkGoMod(t *tree) (bad []string) {
	text, err := fs.ReadFile(t.root, "go.mod")
	if err != nil {
		return []string{err.Error()}
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		lines = append(lines, strings.TrimSpace(line))
	}
	for _, p := range pins {
		if !slices.Contains(lines, p.line) {
			bad = append(bad, fmt.Sprintf("go.mod: no line %q: %s", p.line, p.why))
		}
	}
	if m := regexp.MustCompile(`(?m)^(toolchain|replace)\b.*`).FindString(string(text)); m != "" {
		bad = append(bad, fmt.Sprintf("go.mod: %q: anybody's Go must build the published versions", m))
	}
	return bad
}
