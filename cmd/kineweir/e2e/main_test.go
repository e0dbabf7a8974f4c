package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// binary is the kineweir built for this run.
var binary string

func TestMain(m *testing.M) {
	if url := os.Getenv(asConsumer); url != "" {
		os.Exit(consume(url))
	}
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	for _, tool := range []struct{ name, from string }{
		{"ffmpeg", "Debian package ffmpeg"},
		{"ffprobe", "Debian package ffmpeg"},
		{"chromium", "Debian package chromium"},
		{"node", "Node.js 20 or newer"},
	} {
		if _, err := exec.LookPath(tool.name); err != nil {
			fmt.Fprintf(os.Stderr, "%s is missing (%s): run `make test`, which installs it\n", tool.name, tool.from)
			return 1
		}
	}
	if _, err := os.Stat("node_modules/playwright-core"); err != nil {
		fmt.Fprintln(os.Stderr, "npm packages are missing: run `make test`, or `npm ci` in cmd/kineweir/e2e")
		return 1
	}
	dir, err := os.MkdirTemp("", "kineweir-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "kineweir")
	build := exec.Command("go", "build", "-o", binary, "github.com/kineweir/kineweir/cmd/kineweir")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// run runs a tool to its end and returns what it printed.
func run(t *testing.T, limit time.Duration, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var errs strings.Builder
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, errs.String())
	}
	return string(out)
}

// eventually calls ok until it returns true, and fails the test after limit.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("after %v still not: %s", limit, what)
}
