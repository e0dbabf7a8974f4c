package main

import (
	"maps"
	"path"
	"strings"
	"testing"
	"testing/fstest"
)

const pkgDoc = " is here so that a rule can be seen to fail; it owns nothing, and it never does anything whatever the circumstances.\n"

// sound is a module that keeps every rule.
var sound = map[string]string{
	".gitignore":           "/bin/\n",
	"bin/kineweir":         "",
	"go.mod":               "module github.com/kineweir/kineweir\n\ngo 1.26.0\n\nrequire (\n\tgithub.com/bluenviron/gortsplib/v4 v4.16.2\n\tgithub.com/bluenviron/mediacommon/v2 v2.9.3\n)\n",
	"cmd/kineweir/main.go": "// Command kineweir" + pkgDoc + "package main\nimport _ \"github.com/kineweir/kineweir/web\"\nfunc main() {}\n",
	"web/web.go":           "// Package web" + pkgDoc + "package web\nimport _ \"github.com/kineweir/kineweir/playback/hls\"\n",
	"playback/hls/hls.go":  "// Package hls" + pkgDoc + "package hls\nimport _ \"github.com/kineweir/kineweir/archive\"\nimport _ \"github.com/kineweir/kineweir/playback\"\n",
	"playback/playback.go": "// Package playback" + pkgDoc + "package playback\n",
	"archive/archive.go":   "// Package archive" + pkgDoc + "package archive\nimport _ \"github.com/kineweir/kineweir/fragments\"\n",
	"fragments/doc.go":     "// Package fragments" + pkgDoc + "package fragments\n// A is one.\nvar A = 1\nfunc f() { A := 2; A++ }\n",
}

// TestRulesCatch breaks each rule in a module that keeps the others, and sees
// the rule, and no other, say so.
func TestRulesCatch(t *testing.T) {
	imports := func(p string) string { return "package x\nimport _ \"" + modulePath + "/" + p + "\"\n" }
	for _, c := range []struct {
		rule, file, text, want string
	}{
		{"floors", "fragments/x.go", imports("cmd/kineweir"), "fragments/x.go:2: fragments (floor 1"},
		{"floors", "fragments/x.go", imports("datastream"), "imports datastream (floor 1"},
		{"floors", "datastream/journal/x.go", "// Package journal" + pkgDoc + "package journal\nimport _ \"" + modulePath + "/fragments\"\n", "imports fragments (floor 1"},
		{"floors", "playback/x.go", imports("ingest"), "imports ingest (floor 3"},
		{"floors", "playback/hls/x.go", imports("playback/clip"), "imports playback/clip"},
		{"floors", "archive/x.go", imports("web/awswire"), "imports web/awswire (floor 0"},
		{"floors", "datastream/x.go", "// Package datastream" + pkgDoc + imports("archive/bucket"), "imports archive/bucket (floor 0"},
		{"floors", "archive/x.go", imports("datastream/journal"), ""},
		{"floors", "archive/x.go", imports("web/api"), "imports web/api (floor 4"},
		{"floors", "web/x.go", imports("other"), "other, which stands on no floor"},
		{"two ways", "web/awswire/x.go", "// Package awswire" + pkgDoc + "package awswire\n", ""},
		{"foreign", "web/x.go", "package x\nimport _ \"github.com/minio/minio-go/v7\"\n", "needs an object store"},
		{"foreign", "archive/x.go", "package x\nimport _ \"net/http\"\n", "the front door"},
		{"foreign", "playback/x.go", "package x\nimport _ \"net/http\"\n", ""},
		{"foreign", "web/x.go", "package x\nimport _ \"log\"\n", "slog"},
		{"top folder", "scripts/x.sh", "", "scripts: does not belong"},
		{"top folder", "NOTES.md", "", "NOTES.md: does not belong"},
		{"names", "web/util/x.go", "// Package util" + pkgDoc + "package util\n", "says nothing"},
		{"package comment", "web/api/x.go", "package api\n", "web/api: no package comment"},
		{"package comment", "web/api/x.go", "// Package api is short.\npackage api\n", "too short"},
		{"documented", "web/x.go", "package web\nfunc X() {}\n", "web/x.go:2: X has no comment"},
		{"documented", "web/x.go", "package web\n// T is.\ntype T[K any] int\nfunc (t *T[K]) M() {}\n", "M has no comment"},
		{"documented", "web/x.go", "package web\ntype T int\n", "type T has no comment"},
		{"documented", "web/x.go", "package web\nconst C = 1\n", "C has no comment"},
		{"documented", "web/x.go", "package web\ntype t int\nfunc (t) M() {}\nconst C = 1 // C is one.\n", ""},
		{"no init", "web/x.go", "package web\nfunc init() {}\n", "func init"},
		{"no mutable variables", "fragments/x.go", "package fragments\nfunc g() { A = 3 }\n", "package variable A is changed"},
		{"no mutable variables", "web/x.go", "package web\nvar m = map[int]int{}\nfunc g() { m[1]++ }\n", "package variable m is changed"},
		{"no testing", "web/x.go", "package web\nimport _ \"testing\"\n", "web imports testing"},
		{"no testing", "web/x_test.go", "package web\nimport _ \"testing\"\n", ""},
		{"no testing", "archive/bucket/buckettest/x.go", "// Package buckettest" + pkgDoc + "package buckettest\nimport _ \"testing\"\n", ""},
		{"go.mod", "go.mod", strings.Replace(sound["go.mod"], "v4.16.2", "v4.16.3", 1), "empty stub"},
		{"go.mod", "go.mod", sound["go.mod"] + "toolchain go1.26.8\n", "toolchain"},
	} {
		name := c.rule + " " + c.file
		if c.want == "" {
			name += " allowed"
		}
		t.Run(name, func(t *testing.T) {
			files := maps.Clone(sound)
			files[c.file] = strings.Replace(c.text, "package x", "package "+path.Base(path.Dir(c.file)), 1)
			got := brokenRules(t, files)
			for name, lines := range got {
				if name != c.rule {
					t.Errorf("rule %q fails too: %v", name, lines)
				}
			}
			text := strings.Join(got[c.rule], "\n")
			if c.want == "" && text != "" || !strings.Contains(text, c.want) {
				t.Errorf("rule %q says %q, want %q", c.rule, text, c.want)
			}
		})
	}
}

// TestTwoWaysCatch sees the arrows between two folders that no floor forbids.
func TestTwoWaysCatch(t *testing.T) {
	files := maps.Clone(sound)
	files["archive/bucket/x.go"] = "// Package bucket" + pkgDoc + "package bucket\nimport _ \"" + modulePath + "/datastream/journal\"\n"
	files["datastream/x.go"] = "// Package datastream" + pkgDoc + "package datastream\nimport _ \"" + modulePath + "/archive/bucket\"\n"
	got := brokenRules(t, files)["two ways"]
	if len(got) != 1 || !strings.Contains(got[0], "archive/bucket/x.go") || !strings.Contains(got[0], "datastream/x.go") {
		t.Errorf("got %q, want one line with both files", got)
	}
}

func brokenRules(t *testing.T, files map[string]string) map[string][]string {
	t.Helper()
	root := fstest.MapFS{}
	for name, text := range files {
		root[name] = &fstest.MapFile{Data: []byte(text)}
	}
	tr := mustLoadTree(t, root)
	broken := map[string][]string{}
	for _, r := range rules {
		if bad := r.check(tr); len(bad) > 0 {
			broken[r.name] = bad
		}
	}
	return broken
}
