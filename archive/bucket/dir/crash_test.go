package dir_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/archive/bucket/buckettest"
	"github.com/kineweir/kineweir/archive/bucket/dir"
)

// crashRoot, set in the environment, makes this test binary a writer that works until it is killed.
const crashRoot = "KINEWEIR_TEST_CRASH_ROOT"

func TestMain(m *testing.M) {
	if root := os.Getenv(crashRoot); root != "" {
		fmt.Fprintln(os.Stderr, writeForEver(root))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func crashKey(i int) string { return fmt.Sprintf("c/%d/%d", i/10, i) }

func crashBody(i int) []byte { return buckettest.Body(uint64(i), 1+i*7919%200_000) }

// writeForEver puts and adopts objects from the number after the last one on, and prints each number it was
// acknowledged.
func writeForEver(root string) error {
	s, err := dir.Open(root)
	if err != nil {
		return err
	}
	next, err := strconv.Atoi(os.Getenv(crashRoot + "_NEXT"))
	if err != nil {
		return err
	}
	for i := next; ; i++ {
		body := crashBody(i)
		if i%3 == 0 {
			spool := filepath.Join(root, "..", "spool")
			if err := os.WriteFile(spool, body, 0o600); err != nil {
				return err
			}
			err = s.Adopt(context.Background(), spool, crashKey(i))
		} else {
			_, err = bucket.Ensure(context.Background(), s, crashKey(i), bytes.NewReader(body), int64(len(body)), bucket.PutOptions{})
		}
		if err != nil {
			return err
		}
		fmt.Println(i)
	}
}

// TestKilled kills a writer again and again: what it was acknowledged is there, what was under way is there
// whole or not at all, and nothing of it is left lying about.
func TestKilled(t *testing.T) {
	const kills = 8
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d kills", seed, kills)
	rng := rand.New(rand.NewPCG(seed, 0))
	root := filepath.Join(t.TempDir(), "bucket")
	next := 0
	for range kills {
		next = writeAndKill(t, root, next, time.Duration(20+rng.IntN(150))*time.Millisecond)
		s, err := dir.Open(root)
		if err != nil {
			t.Fatal(err)
		}
		if left, err := os.ReadDir(filepath.Join(root, bucket.Reserved+"tmp")); err != nil || len(left) > 0 {
			t.Errorf("left after the sweep: %v, %v", left, err)
		}
		for i := range next {
			body := crashBody(i)
			if _, err := bucket.Same(t.Context(), s, crashKey(i), bytes.NewReader(body), int64(len(body))); err != nil {
				t.Fatalf("acknowledged object %d: %v", i, err)
			}
		}
		for o, err := range s.List(t.Context(), "", "") {
			if err != nil {
				t.Fatal(err)
			}
			i, err := strconv.Atoi(o.Key[strings.LastIndexByte(o.Key, '/')+1:])
			if err != nil || o.Key != crashKey(i) || o.Size != int64(len(crashBody(i))) {
				t.Errorf("listed %+v, %v", o, err)
			}
		}
	}
	t.Logf("%d objects acknowledged", next)
	if next < kills {
		t.Error("the writer hardly wrote: nothing was proved")
	}
}

// writeAndKill runs a writer and kills it some time after its first acknowledgement. It returns the number
// after the last acknowledged.
func writeAndKill(t *testing.T, root string, next int, after time.Duration) int {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), crashRoot+"="+root, crashRoot+"_NEXT="+strconv.Itoa(next))
	c.Stderr = t.Output()
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	var kill *time.Timer
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // a line cut off was not heard, so not an acknowledgement
		}
		if kill == nil {
			kill = time.AfterFunc(after, func() { c.Process.Kill() })
		}
		i, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil || i != next {
			t.Errorf("the writer says %q, expected %d", line, next)
		}
		next = i + 1
	}
	io.Copy(io.Discard, out)
	c.Wait()
	if kill == nil {
		t.Fatal("the writer ended by itself")
	}
	kill.Stop()
	return next
}
