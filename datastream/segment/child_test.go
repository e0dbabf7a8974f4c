package segment

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
)

// The test of crashes needs another process: this same binary, told by the
// environment to be the child below.
const (
	childEnv = "KINEWEIR_SEGMENT_TEST_CHILD"
	roundEnv = "KINEWEIR_SEGMENT_TEST_ROUND"
)

func TestMain(m *testing.M) {
	dir := os.Getenv(childEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	round, _ := strconv.Atoi(os.Getenv(roundEnv))
	if err := storeChild(dir, round); err != nil {
		ledger("error %v", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// ledger writes one line to the parent. A pipe takes so short a line whole.
func ledger(format string, args ...any) {
	os.Stdout.WriteString(fmt.Sprintf(format, args...) + "\n")
}

// untilKilled starts the child, kills it some time after its first line, and
// hands every whole line it wrote to line.
func untilKilled(t *testing.T, dir string, round int, after time.Duration, line func(fields []string)) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir, fmt.Sprintf("%s=%d", roundEnv, round))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	err = errors.New("the child did nothing")
	for lines.Scan() {
		if err != nil {
			err = nil
			time.AfterFunc(after, func() { cmd.Process.Kill() })
		}
		text := lines.Text()
		if strings.HasPrefix(text, "error") {
			err = errors.New(text)
			break
		}
		line(strings.Fields(text))
	}
	cmd.Process.Kill()
	cmd.Wait()
	if err != nil {
		t.Fatalf("round %d: %v", round, err)
	}
}
