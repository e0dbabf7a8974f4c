package feed

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/wal"
	"github.com/kineweir/kineweir/fragments"
)

const childFolder = "KINEWEIR_FEED_CRASH_FOLDER"

func TestMain(m *testing.M) {
	if folder := os.Getenv(childFolder); folder != "" {
		fmt.Println("error", recordAndFeed(folder))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// lane is a durable data stream.
type lane struct{ *wal.Lane }

func (l lane) Ensure(context.Context, string) error { return nil }

func (l lane) Put(ctx context.Context, _, key string, data []byte) error {
	_, err := l.Append(1, key, data).Wait(ctx)
	return err
}

func openLane(folder string) (lane, error) {
	l, err := wal.Open(filepath.Join(folder, "lane"), wal.Options{ReserveBytes: -1})
	return lane{l}, err
}

// crashed makes segments small, so that feeding meets spool, bucket and both.
func crashed(o *archive.Options) { o.SealBytes, o.Tick = 30_000, 10*time.Millisecond }

const crashCameras = 3

// recordAndFeed is the child: it records, tells each number once it has been
// acknowledged, and feeds, until it is killed.
func recordAndFeed(folder string) error {
	h, err := openHouse(folder, crashed)
	if err != nil {
		return err
	}
	l, err := openLane(folder)
	if err != nil {
		return err
	}
	_, err = New(context.Background(), Options{Archive: h.archive, Target: l, Stream: "s", Meta: h.meta, SaveEvery: 20 * time.Millisecond})
	if err != nil {
		return err
	}
	failed := make(chan error)
	for i := range crashCameras {
		go func() {
			w := h.archive.Writer()
			lease, err := w.Open(context.Background(), name(i))
			c := &camera{w: w, lease: lease, at: time.Since(lease.Created)}
			for err == nil {
				var n fragments.Number
				if n, err = c.commit(); err == nil {
					os.Stdout.WriteString(fmt.Sprintf("%s %s\n", name(i), n))
				}
				time.Sleep(time.Millisecond)
			}
			failed <- err
		}()
	}
	return <-failed
}

// TestKill kills a process that records and feeds, again and again, at any
// moment. In the end every fragment of the archive has its record, in order but
// for what was put again.
func TestKill(t *testing.T) {
	const iterations = 12
	seed := uint64(time.Now().UnixNano())
	t.Logf("%d iterations, seed %d", iterations, seed)
	random := rand.New(rand.NewPCG(seed, 0))
	folder := t.TempDir()
	acked := map[fragments.StreamName]map[fragments.Number]bool{}
	for range iterations {
		killOnce(t, folder, time.Duration(random.IntN(250))*time.Millisecond, acked)
	}
	h, err := openHouse(folder, crashed)
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	l, err := openLane(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := New(t.Context(), Options{Archive: h.archive, Target: l, Stream: "s", Meta: h.meta})
	if err != nil {
		t.Fatal(err)
	}
	shut(t, f)
	checkFed(t, h, l, acked)
}

func killOnce(t *testing.T, folder string, after time.Duration, acked map[fragments.StreamName]map[fragments.Number]bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childFolder+"="+folder)
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
		var stream fragments.StreamName
		var digits string
		if _, err := fmt.Sscan(lines.Text(), &stream, &digits); err != nil || stream == "error" {
			cmd.Process.Kill()
			t.Fatal(lines.Text())
		}
		n, err := fragments.ParseNumber(digits)
		if err != nil {
			continue // cut by the kill
		}
		if acked[stream] == nil {
			acked[stream] = map[fragments.Number]bool{}
		}
		acked[stream][n] = true
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the child ended by itself: %v", err)
	}
}

// checkFed compares what was put with what was recorded.
func checkFed(t *testing.T, h *house, l lane, acked map[fragments.StreamName]map[fragments.Number]bool) {
	t.Helper()
	seen := map[fragments.StreamName][]fragments.Number{} // first appearances, in order
	known := map[string]bool{}
	records, again := 0, 0
	for e, err := range l.Read(journal.Position{}) {
		if err != nil {
			t.Fatal(err)
		}
		var r Record
		if err := json.Unmarshal(e.Payload, &r); err != nil || string(r.Stream) != e.Key || len(r.Tracks) != 2 || len(r.Tracks[0].Frames) != 10 || r.FramesLeftOut != "" {
			t.Fatalf("%v: %s", err, e.Payload)
		}
		records++
		if id := e.Key + r.Number.String(); !known[id] {
			known[id] = true
			seen[r.Stream] = append(seen[r.Stream], r.Number)
		} else {
			again++
		}
	}
	count := 0
	for i := range crashCameras {
		var want []fragments.Number
		for e, err := range h.archive.Fragments(t.Context(), name(i), fragments.Selector{}) {
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, e.Number)
		}
		got := seen[name(i)]
		for j := range max(len(want), len(got)) {
			if j >= len(want) || j >= len(got) || want[j] != got[j] {
				t.Fatalf("%s: %d were put, %d are recorded; number %d differs", name(i), len(got), len(want), j)
			}
		}
		for n := range acked[name(i)] {
			if !known[string(name(i))+n.String()] {
				t.Fatalf("%s %s was acknowledged and not fed", name(i), n)
			}
		}
		count += len(acked[name(i)])
	}
	t.Logf("%d fragments acknowledged, %d records, %d of them again", count, records, again)
	if count < 300 {
		t.Fatalf("only %d fragments were recorded: nothing was tested", count)
	}
}
