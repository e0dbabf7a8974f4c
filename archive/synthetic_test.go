package archive

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/archive/bucket/dir"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
)

// Parameter sets of 320x180 video as x264 wrote them.
var (
	testSPS = []byte{0x67, 0x64, 0x00, 0x0c, 0xac, 0xd9, 0x41, 0x41, 0x9f, 0x9f, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x42, 0x99, 0x60}
	testPPS = []byte{0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0}
)

func testVideo() *fragments.Track {
	return &fragments.Track{ID: 1, Codec: fragments.H264, TimeScale: 90000, Width: 320, Height: 180, Reorder: -1, Params: [][]byte{testSPS, testPPS}}
}

func testAudio() *fragments.Track {
	return &fragments.Track{ID: 2, Codec: fragments.AAC, TimeScale: 48000, SampleRate: 48000, Channels: 2, Params: [][]byte{{0x11, 0x90}}}
}

// synthetic makes fragments of a steady camera with sound.
type synthetic struct {
	video, audio *fragments.Track
	created      time.Time
	at           time.Duration // of the next fragment since created
	length       time.Duration
	frames       int // of video
	frameSize    int // bytes of a video frame
	sequence     uint32
}

func newSynthetic(created, now time.Time) *synthetic {
	return &synthetic{
		video: testVideo(), audio: testAudio(), created: created,
		at: sinceCreation(created, now), length: 2 * time.Second, frames: 10, frameSize: 200,
	}
}

// sinceCreation is where on the time line now lies. A stream that is made anew in
// the millisecond in which one of its name was deleted is created a millisecond
// ahead of the clock; decode times begin no earlier than that, as those of a
// Fragmenter do (its time line stands above zero at the creation).
func sinceCreation(created, now time.Time) time.Duration { return max(now.Sub(created), 0) }

// next makes the fragment of the number, of two parts a track. Its payload tells
// the number, so that a mix-up is seen.
func (g *synthetic) next(n fragments.Number) *fragments.Fragment {
	start := g.created.Add(g.at)
	f := &fragments.Fragment{
		Number: n, Producer: fragments.ProducerTime(start.Add(-150 * time.Millisecond)),
		Server: fragments.ServerTime(start), Duration: g.length,
	}
	for _, t := range []*fragments.Track{g.video, g.audio} {
		if t != nil {
			f.Runs = append(f.Runs, g.run(t, n))
		}
	}
	g.at += g.length
	return f
}

func (g *synthetic) run(t *fragments.Track, n fragments.Number) fragments.Run {
	begin, end := Ticks(g.at, t.TimeScale), Ticks(g.at+g.length, t.TimeScale)
	run := fragments.Run{Track: t, DecodeTime: begin, Duration: end - begin, Samples: g.frames}
	size := g.frameSize
	if t.Kind() == fragments.KindAudio {
		size = 20
	}
	var samples []fragments.Sample
	for i := range g.frames {
		at := begin + (end-begin)*int64(i)/int64(g.frames)
		next := begin + (end-begin)*int64(i+1)/int64(g.frames)
		payload := make([]byte, size)
		binary.BigEndian.PutUint64(payload[1:], n.Counter)
		payload[0] = 0x65
		samples = append(samples, fragments.Sample{
			Duration: uint32(next - at), Key: i == 0 || t.Kind() == fragments.KindAudio, Payload: [][]byte{payload},
		})
	}
	for half := range slices.Chunk(samples, (len(samples)+1)/2) {
		g.sequence++
		p := &fragments.Part{Track: t, Sequence: g.sequence, DecodeTime: begin, Samples: half}
		for _, s := range half {
			p.Duration += int64(s.Duration)
		}
		begin += p.Duration
		p.Data = cmaf.AppendPart(nil, t, g.sequence, p.DecodeTime, half)
		run.Parts = append(run.Parts, p)
		run.Bytes += len(p.Data)
	}
	return run
}

// testClock is a clock that tests set.
type testClock struct {
	mu  sync.Mutex
	now time.Time
}

func newTestClock() *testClock {
	return &testClock{now: time.Date(2026, 11, 23, 16, 10, 0, 0, time.UTC)}
}

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *testClock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// place is where a test keeps an archive over several openings.
type place struct {
	t     testing.TB
	opts  Options
	clock *testClock
}

// newPlace prepares an archive in new folders, with a clock that stands still,
// no chores of its own, and impatient retries.
func newPlace(t testing.TB) *place {
	t.Helper()
	clock := newTestClock()
	b, err := dir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &place{t: t, clock: clock, opts: Options{
		Dir: t.TempDir(), Bucket: b, Now: clock.Now, Tick: -1, FS: lazyDisk{},
		RetryMin: time.Millisecond, RetryMax: 5 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(testLog{t}, nil)),
	}}
}

// lazyDisk is the real file system without the waiting for the device: no
// machine dies in these tests, and TestKill, where a process does, has a real one.
type lazyDisk struct{ vfs.OS }

type lazyFile struct{ vfs.File }

func (lazyFile) Sync() error { return nil }

func (lazyDisk) SyncDir(string) error { return nil }

func (d lazyDisk) Create(name string) (vfs.File, error) {
	f, err := d.OS.Create(name)
	return lazyFile{f}, err
}

func (d lazyDisk) Open(name string) (vfs.File, error) {
	f, err := d.OS.Open(name)
	return lazyFile{f}, err
}

type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Logf("%s", b[:len(b)-1])
	return len(b), nil
}

func (p *place) open() *Archive {
	p.t.Helper()
	a, err := Open(context.Background(), p.opts)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { a.Close(context.Background()) })
	return a
}

func (p *place) close(a *Archive) {
	p.t.Helper()
	if err := a.Close(context.Background()); err != nil {
		p.t.Fatal(err)
	}
}

// crash lets go of the archive's files as a killed process would, so far as one
// process can: nothing is sealed, nothing more is written.
func (p *place) crash(a *Archive) {
	p.t.Helper()
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.stop()
	a.uploads.wait()
	a.chores.Wait()
	if err := a.closeStores(); err != nil {
		p.t.Fatal(err)
	}
}

// recorder records one stream.
type recorder struct {
	t testing.TB
	a *Archive
	w *Writer
	l fragments.Lease
	g *synthetic
	p *place
}

func (p *place) record(a *Archive, name fragments.StreamName) *recorder {
	p.t.Helper()
	w := a.Writer()
	l, err := w.Open(context.Background(), name)
	if err != nil {
		p.t.Fatal(err)
	}
	return &recorder{t: p.t, a: a, w: w, l: l, g: newSynthetic(l.Created, p.clock.Now()), p: p}
}

// add records n fragments and moves the clock along.
func (r *recorder) add(n int) []fragments.Number {
	r.t.Helper()
	var list []fragments.Number
	for range n {
		num := r.begin()
		r.commit(num)
		list = append(list, num)
	}
	return list
}

func (r *recorder) begin() fragments.Number {
	r.t.Helper()
	n, err := r.w.Begin(r.l)
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

func (r *recorder) commit(n fragments.Number) {
	r.t.Helper()
	r.g.at = sinceCreation(r.l.Created, r.p.clock.Now())
	f := r.g.next(n)
	r.p.clock.Add(f.Duration)
	if err := r.w.Commit(context.Background(), r.l, f); err != nil {
		r.t.Fatal(err)
	}
}

func (r *recorder) close() {
	r.t.Helper()
	if err := r.w.Close(context.Background(), r.l); err != nil {
		r.t.Fatal(err)
	}
}

// list returns all visible entries.
func listed(t testing.TB, a *Archive, name fragments.StreamName) []*Entry {
	t.Helper()
	return selected(t, a, name, fragments.Selector{})
}

func selected(t testing.TB, a *Archive, name fragments.StreamName, sel fragments.Selector) []*Entry {
	t.Helper()
	var all []*Entry
	for e, err := range a.Fragments(context.Background(), name, sel) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func numbers(entries []*Entry) []fragments.Number {
	var list []fragments.Number
	for _, e := range entries {
		list = append(list, e.Number)
	}
	return list
}

// checkReadable reads every run and compares what its payload tells.
func checkReadable(t testing.TB, a *Archive, name fragments.StreamName, entries []*Entry) {
	t.Helper()
	for _, e := range entries {
		for i := range e.Runs {
			data, err := a.ReadRun(context.Background(), name, e, i)
			if err != nil {
				t.Fatalf("read %s run %d: %v", e.Number, i, err)
			}
			checkRun(t, e, i, data)
		}
	}
}

func checkRun(t testing.TB, e *Entry, run int, data []byte) {
	t.Helper()
	r, samples, at := &e.Runs[run], 0, e.Runs[run].DecodeTime
	for part, err := range cmaf.Parts(data) {
		if err != nil {
			t.Fatalf("%s: %v", e.Number, err)
		}
		if got := part.DecodeTime + e.BaseTicks(r.TimeScale); got != at || part.TrackID != r.Track {
			t.Fatalf("%s: part of track %d at %d, want track %d at %d", e.Number, part.TrackID, got, r.Track, at)
		}
		at += part.Duration
		for _, s := range part.Samples {
			payload := s.Data
			if r.Kind == fragments.KindVideo {
				payload = payload[4:] // the length of the NAL unit
			}
			if got := binary.BigEndian.Uint64(payload[1:]); got != e.Number.Counter {
				t.Fatalf("%s: payload is of fragment %d", e.Number, got)
			}
			samples++
		}
	}
	if samples != r.Samples || at != r.DecodeTime+r.Duration {
		t.Fatalf("%s: %d samples up to %d, want %d up to %d", e.Number, samples, at, r.Samples, r.DecodeTime+r.Duration)
	}
}

// settled waits until nothing is on its way to the bucket.
func settled(t testing.TB, a *Archive) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for a.uploads.waiting() > 0 {
		if time.Now().After(deadline) {
			t.Fatal("uploads are not done after 10 s")
		}
		time.Sleep(time.Millisecond)
	}
}

// errAway is what a flaky bucket answers while it is away.
var errAway = errors.New("bucket is away")

// keysOf lists the bucket below a prefix.
func keysOf(t testing.TB, b bucket.Bucket, prefix string) []string {
	t.Helper()
	var keys []string
	for o, err := range b.List(context.Background(), prefix, "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	return keys
}
