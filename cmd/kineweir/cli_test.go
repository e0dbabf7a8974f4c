package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

var rewrite = flag.Bool("rewrite", false, "write what the commands print into testdata/cli instead of comparing")

// buildFolder is where the tests of one run keep the command.
var buildFolder = filepath.Join(os.TempDir(), fmt.Sprintf("kineweir-test-%d", os.Getpid()))

// buildOnce builds the command for all tests of a run.
var buildOnce = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(buildFolder, "kineweir")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
})

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	os.RemoveAll(buildFolder)
	os.Exit(code)
}

// kineweirBinary returns the path of the command as a user would build it.
func kineweirBinary(t testing.TB) string {
	t.Helper()
	binary, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// TestCLI runs the transcripts of testdata/cli: after each line "$ command"
// stand the lines it prints, those on standard error behind "! ", and its exit
// code when that is not 0. Files for the commands follow behind lines
// "-- name --". Variables may stand in front of a command. With -rewrite the
// transcripts are made anew, to be read as a diff.
func TestCLI(t *testing.T) {
	files, err := filepath.Glob("testdata/cli/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts in testdata/cli: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := runTranscript(t, string(text))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := firstDifference(string(text), got); d != "" {
				t.Errorf("%s %s", file, d)
			}
		})
	}
}

// runTranscript runs the commands of a transcript and returns what it should be.
func runTranscript(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	script, files, _ := strings.Cut(text, "\n-- ")
	if files != "" {
		files = "\n-- " + files
	}
	unpack(t, dir, files)
	var out strings.Builder
	commands := 0
	for line := range strings.Lines(script) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "#"):
			out.WriteString(line + "\n")
		case strings.HasPrefix(line, "$ "):
			if commands++; commands > 1 {
				out.WriteString("\n")
			}
			out.WriteString(line + "\n" + runLine(t, dir, line[2:]))
		}
	}
	if commands == 0 {
		t.Fatal("the transcript has no command")
	}
	return out.String() + files
}

func unpack(t *testing.T, dir, files string) {
	t.Helper()
	for f := range strings.SplitSeq(files, "\n-- ") {
		name, body, ok := strings.Cut(f, " --\n")
		if !ok {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(body+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// runLine runs "A=b kineweir c d" and returns the lines of the transcript.
func runLine(t *testing.T, dir, line string) string {
	t.Helper()
	var env []string
	words := strings.Fields(line)
	for len(words) > 0 && words[0] != "kineweir" {
		env, words = append(env, words[0]), words[1:]
	}
	if len(words) == 0 {
		t.Fatalf("%q is no kineweir command", line)
	}
	cmd := exec.CommandContext(t.Context(), kineweirBinary(t), words[1:]...)
	cmd.Dir = dir
	cmd.Env = append(env, "HOME="+dir, "PATH=/nowhere")
	cmd.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	out := stdout.String() + prefixed("! ", stderr.String())
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		out += fmt.Sprintf("exit %d\n", code)
	}
	return strings.ReplaceAll(out, dir, "DIR")
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n"+prefix) + "\n"
}

// firstDifference describes the first line that differs, or returns "".
func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		wl, gl := "(the end)", "(the end)"
		if i < len(w) {
			wl = w[i]
		}
		if i < len(g) {
			gl = g[i]
		}
		if wl != gl {
			return fmt.Sprintf("line %d:\n want %s\n got  %s", i+1, wl, gl)
		}
	}
	return ""
}

// TestEveryCommandHelps sees that each command explains itself whole.
func TestEveryCommandHelps(t *testing.T) {
	for _, c := range commands() {
		t.Run(c.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			code := run(t.Context(), append(strings.Fields(c.name), "--help"), console{&out, &errs, func() []string { return nil }})
			if code != exitOK || errs.Len() > 0 {
				t.Errorf("--help ends with %d and says %q", code, errs.String())
			}
			for _, want := range []string{"Usage: kineweir " + c.name, c.long, "Examples:\n  "} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("--help does not show %q:\n%s", want, out.String())
				}
			}
			for _, e := range c.examples {
				if !strings.Contains(e, "kineweir "+c.name) {
					t.Errorf("example %q is not one of %s", e, c.name)
				}
			}
			if c.short == "" || strings.HasSuffix(c.short, ".") || len(c.short) > 62 {
				t.Errorf("%q does not fit the overview", c.short)
			}
			for line := range strings.Lines(c.long) {
				if len(line) > 82 {
					t.Errorf("too wide for a terminal: %q", line)
				}
			}
		})
	}
}

// TestVersion runs the command that everybody runs first.
func TestVersion(t *testing.T) {
	out, err := exec.Command(kineweirBinary(t), "version").Output()
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`^kineweir \S+ ` + regexp.QuoteMeta(runtime.Version()+" "+runtime.GOOS+"/"+runtime.GOARCH) + `\n$`)
	if !want.Match(out) {
		t.Errorf("version prints %q, want %s", out, want)
	}
}
