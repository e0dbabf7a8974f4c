package wal

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
)

// The tests of crashes and of locks need other processes: this same binary,
// told by the environment to be one of the children below.
const (
	childEnv = "KINEWEIR_WAL_TEST_CHILD"
	dirEnv   = "KINEWEIR_WAL_TEST_DIR"
	roundEnv = "KINEWEIR_WAL_TEST_ROUND"
)

func TestMain(m *testing.M) {
	role, dir := os.Getenv(childEnv), os.Getenv(dirEnv)
	round, _ := strconv.Atoi(os.Getenv(roundEnv))
	var err error
	switch role {
	case "":
		os.Exit(m.Run())
	case "lane":
		err = laneChild(dir, round)
	case "meta":
		err = metaChild(dir, round)
	case "full":
		if err = fullChild(dir, round); err == nil {
			ledger("done")
		}
	case "open":
		if err = openChild(dir); err == nil {
			ledger("refused")
		}
	default:
		err = errors.New("no such child: " + role)
	}
	if err != nil {
		ledger("error %v", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// ledger writes one line to the parent. A pipe takes so short a line whole.
func ledger(format string, args ...any) {
	os.Stdout.WriteString(fmt.Sprintf(format, args...) + "\n")
}

// child starts this binary in a role.
func child(t *testing.T, role, dir string, round int) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+role, dirEnv+"="+dir, fmt.Sprintf("%s=%d", roundEnv, round))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

// untilKilled starts a child, kills it some time after its first line, and
// hands every whole line it wrote to line.
func untilKilled(t *testing.T, role, dir string, round int, after time.Duration, line func(fields []string)) {
	t.Helper()
	cmd, lines := child(t, role, dir, round)
	defer cmd.Wait()
	started := false
	for lines.Scan() {
		if !started {
			started = true
			time.AfterFunc(after, func() { cmd.Process.Kill() })
		}
		text := lines.Text()
		if strings.HasPrefix(text, "error") {
			cmd.Process.Kill()
			t.Fatalf("round %d: child: %s", round, text)
		}
		line(strings.Fields(text))
	}
	if !started {
		cmd.Process.Kill()
		t.Fatalf("round %d: the child did nothing", round)
	}
}

func openChild(dir string) error {
	if _, err := Open(dir, Options{}); !errors.Is(err, journal.ErrLocked) {
		return fmt.Errorf("opening a lane that is open: %v", err)
	}
	if _, err := OpenMeta(dir, Options{}); !errors.Is(err, journal.ErrLocked) {
		return fmt.Errorf("opening a store where a lane is open: %v", err)
	}
	return nil
}

func TestTwoProcesses(t *testing.T) {
	for _, test := range []struct {
		name string
		open func(dir string) interface{ Close() error }
	}{
		{"lane", func(dir string) interface{ Close() error } { return mustOpen(t, dir, Options{}) }},
		{"store", func(dir string) interface{ Close() error } { return mustOpenMeta(t, dir, Options{}) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			held := test.open(dir)
			cmd, lines := child(t, "open", dir, 0)
			lines.Scan()
			if lines.Text() != "refused" {
				t.Errorf("another process: %s", lines.Text())
			}
			cmd.Wait()
			if err := openChild(dir); err != nil {
				t.Errorf("this process: %v", err)
			}
			if err := held.Close(); err != nil {
				t.Error(err)
			}
			if err := test.open(dir).Close(); err != nil {
				t.Errorf("after close: %v", err)
			}
		})
	}
}
