package archive

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive/bucket/dir"
	"github.com/kineweir/kineweir/fragments"
)

const (
	childFolder = "KINEWEIR_ARCHIVE_CRASH_FOLDER"
	childOrigin = "KINEWEIR_ARCHIVE_CRASH_ORIGIN"
)

func TestMain(m *testing.M) {
	if folder := os.Getenv(childFolder); folder != "" {
		recordUntilKilled(folder)
	}
	os.Exit(m.Run())
}

// crashStreams are recorded at once; the last has little room.
const crashStreams = 4

func crashStream(i int) fragments.StreamName { return fragments.StreamName(fmt.Sprintf("cam%d", i)) }

// crashOptions make everything happen often: segments of a few fragments, hours
// of a second and a half, retention.
func crashOptions(folder string, origin time.Time) (Options, error) {
	b, err := dir.Open(filepath.Join(folder, "bucket"))
	now := func() time.Time {
		return time.Date(2026, 11, 23, 16, 0, 0, 0, time.UTC).Add(2400 * time.Since(origin))
	}
	return Options{
		Dir: filepath.Join(folder, "data"), Bucket: b, Now: now,
		SealBytes: 40_000, SealAge: 20 * time.Minute, Tick: 10 * time.Millisecond, RetryMin: time.Millisecond,
		RetentionOf: func(n fragments.StreamName) (Retention, bool) {
			return Retention{MaxBytes: 300_000}, n == crashStream(crashStreams-1)
		},
	}, err
}

// recordUntilKilled is the child: it records, and writes each number to standard
// output once it has been acknowledged.
func recordUntilKilled(folder string) {
	nanos, _ := strconv.ParseInt(os.Getenv(childOrigin), 10, 64)
	opts, err := crashOptions(folder, time.Unix(0, nanos))
	if err != nil {
		panic(err)
	}
	a, err := Open(context.Background(), opts)
	if err != nil {
		panic(err)
	}
	var out sync.Mutex
	for i := range crashStreams {
		go func() {
			w := a.Writer()
			l, err := w.Open(context.Background(), crashStream(i))
			if err != nil {
				panic(err)
			}
			for n := 0; ; n++ {
				num, err := w.Begin(l)
				if err != nil {
					panic(err)
				}
				g := newSynthetic(l.Created, opts.Now())
				if err := w.Commit(context.Background(), l, g.next(num)); err != nil {
					panic(err)
				}
				out.Lock()
				fmt.Printf("%d %s\n", i, num)
				out.Unlock()
				if n%40 == 39 { // take the lease again
					if l, err = w.Open(context.Background(), crashStream(i)); err != nil {
						panic(err)
					}
				}
			}
		}()
	}
	select {}
}

// TestKill kills a process that records, again and again, at any moment. What
// it had acknowledged must be there, whole, and every object must be sound.
func TestKill(t *testing.T) {
	const iterations = 12
	seed := uint64(time.Now().UnixNano())
	t.Logf("%d iterations, seed %d", iterations, seed)
	random := rand.New(rand.NewPCG(seed, 0))
	folder, origin := t.TempDir(), time.Now()
	acked := map[fragments.StreamName]map[fragments.Number]bool{}
	for i := range iterations {
		killOnce(t, folder, origin, time.Duration(random.IntN(400))*time.Millisecond, acked)
		opts, err := crashOptions(folder, origin)
		if err != nil {
			t.Fatal(err)
		}
		opts.Tick = -1 // or retention would delete what is being compared
		opts.Logger = slog.New(slog.NewTextHandler(testLog{t}, nil))
		a, err := Open(context.Background(), opts)
		if err != nil {
			t.Fatal(err)
		}
		checkAcked(t, a, acked)
		p := &place{t: t}
		if i%2 == 0 {
			a.chore(context.Background())
			a.retain(context.Background())
			p.crash(a)
		} else {
			p.close(a)
		}
	}
	count := 0
	for _, numbers := range acked {
		count += len(numbers)
	}
	t.Logf("%d fragments acknowledged", count)
	if count < 100*iterations/10 {
		t.Fatalf("only %d fragments were recorded: nothing was tested", count)
	}
	checkSound(t, folder)
}

// killOnce runs the child and kills it after a while, counted from its first
// acknowledgement.
func killOnce(t *testing.T, folder string, origin time.Time, after time.Duration, acked map[fragments.StreamName]map[fragments.Number]bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childFolder+"="+folder, fmt.Sprintf("%s=%d", childOrigin, origin.UnixNano()))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for first := true; lines.Scan(); first = false {
		if first {
			time.AfterFunc(after, func() { cmd.Process.Kill() })
		}
		var i int
		var digits string
		if _, err := fmt.Sscan(lines.Text(), &i, &digits); err != nil {
			continue // cut by the kill
		}
		n, err := fragments.ParseNumber(digits)
		if err != nil {
			continue
		}
		name := crashStream(i)
		if acked[name] == nil {
			acked[name] = map[fragments.Number]bool{}
		}
		acked[name][n] = true
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the child ended by itself: %v", err)
	}
}

// checkAcked checks that what was acknowledged and not deleted is there.
func checkAcked(t *testing.T, a *Archive, acked map[fragments.StreamName]map[fragments.Number]bool) {
	t.Helper()
	for name, numbers := range acked {
		s, err := a.stream(name)
		if err != nil {
			t.Fatal(err)
		}
		there := map[fragments.Number]bool{}
		entries := listed(t, a, name)
		for i, e := range entries {
			there[e.Number] = true
			if i > 0 && !entries[i-1].Number.Less(e.Number) {
				t.Fatalf("%s: %s comes after %s", name, e.Number, entries[i-1].Number)
			}
		}
		floor := s.floorNow()
		for n := range numbers {
			if !there[n] && !n.Less(floor) {
				t.Fatalf("%s: %s was acknowledged and is lost (floor %s, %d listed)", name, n, floor, len(entries))
			}
		}
		if got := a.Stats(); got.Damaged != 0 {
			t.Fatalf("%d damaged", got.Damaged)
		}
		checkReadable(t, a, name, entries[max(0, len(entries)-200):])
	}
}

// checkSound verifies the whole bucket, and that the index can be rebuilt from
// it as it is.
func checkSound(t *testing.T, folder string) {
	t.Helper()
	opts, err := crashOptions(folder, time.Now().Add(-24*time.Hour)) // all hours have ended
	if err != nil {
		t.Fatal(err)
	}
	opts.Tick = -1
	a, err := Open(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	settled(t, a)
	a.chore(context.Background())
	a.retain(context.Background())
	before := map[fragments.StreamName][]*Entry{}
	for i := range crashStreams {
		before[crashStream(i)] = listed(t, a, crashStream(i))
		checkReadable(t, a, crashStream(i), before[crashStream(i)])
	}
	if err := a.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	report, err := Verify(context.Background(), opts.Bucket, nil)
	if err != nil || len(report.Problems) > 0 {
		t.Fatalf("verify: %v, %+v", err, report)
	}
	t.Logf("verified %d objects, %d fragments", report.Objects, report.Fragments)
	checkRebuilt(t, opts, before)
}
