package events

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/archive/bucket/dir"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
	"github.com/kineweir/kineweir/datastream/journal/wal"
	"github.com/kineweir/kineweir/fragments"
)

var day = time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)

// place is where a test keeps a store over several openings, with a clock and
// videos that the test sets.
type place struct {
	t testing.TB
	o Options

	mu     sync.Mutex
	now    time.Time
	oldest map[fragments.StreamName]time.Time // of the video
	away   bool                               // the bucket
}

func newPlace(t testing.TB) *place {
	t.Helper()
	b, err := dir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p := &place{t: t, now: day, oldest: map[fragments.StreamName]time.Time{}}
	p.o = Options{Dir: t.TempDir(), Bucket: awayBucket{b, p}, Videos: p, FS: lazyDisk{}, Tick: -1, Now: p.clock}
	return p
}

// lazyDisk is the real file system without the waiting for the device: the tests
// of kills have a real one.
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

func (p *place) clock() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

func (p *place) pass(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = p.now.Add(d)
}

func (p *place) setOldest(name fragments.StreamName, t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.oldest[name] = t
}

func (p *place) setAway(away bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = away
}

func (p *place) Stream(name fragments.StreamName) (archive.StreamInfo, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, ok := p.oldest[name]
	if !ok {
		return archive.StreamInfo{}, archive.ErrNoStream
	}
	return archive.StreamInfo{Name: name, First: &archive.Entry{Producer: fragments.ProducerTime(t)}}, nil
}

var errAway = errors.New("bucket is away")

// awayBucket takes nothing while the place says so.
type awayBucket struct {
	bucket.Bucket
	p *place
}

func (b awayBucket) Put(ctx context.Context, key string, body io.ReaderAt, size int64, o bucket.PutOptions) (bucket.Object, error) {
	b.p.mu.Lock()
	away := b.p.away
	b.p.mu.Unlock()
	if away {
		return bucket.Object{}, errAway
	}
	return b.Bucket.Put(ctx, key, body, size, o)
}

func (p *place) open() *Store {
	p.t.Helper()
	s, err := Open(context.Background(), p.o)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { s.Close(context.Background()) })
	return s
}

func (p *place) close(s *Store) {
	p.t.Helper()
	if err := s.Close(context.Background()); err != nil {
		p.t.Fatal(err)
	}
}

// seen makes a detection so many seconds after day.
func seen(camera fragments.StreamName, id int, seconds float64, label string) Detection {
	return Detection{ID: fmt.Sprint(id), Camera: camera, Time: day.Add(time.Duration(seconds * float64(time.Second))), Label: label, Score: 0.5}
}

func add(t testing.TB, s *Store, list ...Detection) {
	t.Helper()
	if err := s.Add(t.Context(), list); err != nil {
		t.Fatal(err)
	}
}

// found returns everything that is selected, page by page.
func found(t testing.TB, s *Store, q Query) (list []Detection) {
	t.Helper()
	for pages := 0; ; pages++ {
		p, err := s.Find(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p.Detections...)
		if p.Next == "" {
			return list
		}
		if q.Page = p.Next; pages > 100_000 {
			t.Fatal("pages without end")
		}
	}
}

func ids(list []Detection) (s []string) {
	for _, d := range list {
		s = append(s, string(d.Camera)+d.ID)
	}
	return s
}

// TestFind has a row for each way to ask; the answer must be the same from memory
// and from blocks.
func TestFind(t *testing.T) {
	p := newPlace(t)
	p.setOldest("a", day.Add(-time.Hour))
	p.setOldest("b", day.Add(-time.Hour))
	s := p.open()
	add(t, s,
		seen("a", 1, 0, "person"), seen("a", 2, 10, "car"), seen("a", 3, 3700, "person"), seen("a", 4, 3700, "person"), seen("a", 5, 2*3600, "dog"),
		seen("b", 1, 10, "person"), seen("b", 2, 3*3600, "car"), seen("b", 3, -600, "car"), seen("b", 4, -30*60*60, "lost"))
	for _, when := range []string{"memory", "both", "blocks", "opened again"} {
		switch when {
		case "both":
			p.pass(90 * time.Minute)
			flush(t, s)
		case "blocks":
			p.pass(10 * time.Hour)
			flush(t, s)
			if st := s.Stats(); st.Waiting != 0 || st.Blocks < 6 {
				t.Errorf("%+v", st)
			}
		case "opened again":
			p.close(s)
			s = p.open()
		}
		for _, c := range []struct {
			name string
			q    Query
			want []string
		}{
			{"all", Query{}, []string{"b3", "a1", "a2", "b1", "a3", "a4", "a5", "b2"}},
			{"newest", Query{Newest: true}, []string{"b2", "a5", "a4", "a3", "b1", "a2", "a1", "b3"}},
			{"pages of one", Query{Limit: 1}, []string{"b3", "a1", "a2", "b1", "a3", "a4", "a5", "b2"}},
			{"newest pages of one", Query{Limit: 1, Newest: true}, []string{"b2", "a5", "a4", "a3", "b1", "a2", "a1", "b3"}},
			{"a camera", Query{Cameras: []fragments.StreamName{"a"}}, []string{"a1", "a2", "a3", "a4", "a5"}},
			{"no camera", Query{Cameras: []fragments.StreamName{}}, nil},
			{"unknown camera", Query{Cameras: []fragments.StreamName{"x"}}, nil},
			{"label", Query{Label: "person"}, []string{"a1", "b1", "a3", "a4"}},
			{"label in pages", Query{Label: "person", Limit: 2}, []string{"a1", "b1", "a3", "a4"}},
			{"from", Query{Start: day.Add(10 * time.Second)}, []string{"a2", "b1", "a3", "a4", "a5", "b2"}},
			{"until", Query{End: day.Add(10 * time.Second)}, []string{"b3", "a1"}},
			{"span", Query{Start: day.Add(10 * time.Second), End: day.Add(3701 * time.Second)}, []string{"a2", "b1", "a3", "a4"}},
			{"long ago", Query{End: time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)}, nil},
			{"far away", Query{Start: time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC)}, nil},
		} {
			if got := ids(found(t, s, c.q)); !slices.Equal(got, c.want) {
				t.Errorf("%s, %s: %v, want %v", when, c.name, got, c.want)
			}
		}
	}
	for _, q := range []Query{{Limit: -1}, {Page: "x"}, {Page: "eHh4"}} {
		if _, err := s.Find(t.Context(), q); err == nil {
			t.Errorf("%+v is answered", q)
		}
	}
}

func flush(t testing.TB, s *Store) {
	t.Helper()
	if err := s.flush(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// Everything of a detection is kept.
func TestKeepsEverything(t *testing.T) {
	p := newPlace(t)
	s := p.open()
	d := Detection{
		ID: "1", Camera: "c", Time: day.Add(time.Nanosecond), End: day.Add(time.Hour), Label: "<Tür & Tor>", Score: 0.25, Box: &Box{0, 0.1, 0.2, 0.3},
		Source: "x", Fragment: fragments.Number{Epoch: 1, Counter: 2}, Attributes: []byte(`{"a":"<&>\u2028"}`),
	}
	add(t, s, d)
	for _, when := range []string{"memory", "lane", "block"} {
		switch when {
		case "lane":
			p.close(s)
			s = p.open()
		case "block":
			p.pass(3 * time.Hour)
			flush(t, s)
		}
		got := found(t, s, Query{})
		if len(got) != 1 || fmt.Sprintf("%+v", *got[0].Box) != fmt.Sprintf("%+v", *d.Box) {
			t.Fatalf("%s: %+v", when, got)
		}
		got[0].Box = d.Box
		if fmt.Sprintf("%+v", got[0]) != fmt.Sprintf("%+v", d) {
			t.Errorf("%s: %+v, want %+v", when, got[0], d)
		}
	}
}

// What is told again with more in it counts, wherever the earlier one lies.
func TestLastCounts(t *testing.T) {
	p := newPlace(t)
	s := p.open()
	d := seen("c", 0, 0, "x")
	for round := range 5 {
		d.End = d.Time.Add(time.Duration(round+1) * time.Second)
		add(t, s, d)
		if got := found(t, s, Query{}); len(got) != 1 || !got[0].End.Equal(d.End) {
			t.Fatalf("round %d: %+v, want the end %v", round, got, d.End)
		}
		switch round {
		case 1, 3: // into a block, and into the block again
			p.pass(3 * time.Hour)
			flush(t, s)
		case 2: // out of the lane
			p.close(s)
			s = p.open()
		}
		if got := found(t, s, Query{}); len(got) != 1 || !got[0].End.Equal(d.End) {
			t.Fatalf("after round %d: %+v, want the end %v", round, got, d.End)
		}
	}
}

// A detection without an id has one of its content; none is kept twice.
func TestOnce(t *testing.T) {
	p := newPlace(t)
	s := p.open()
	d := seen("c", 0, 0, "x")
	d.ID = ""
	for round := range 4 {
		add(t, s, d, d, seen("c", 1, 0, "x"))
		if got := found(t, s, Query{}); len(got) != 2 || got[0].ID == "" && got[1].ID == "" {
			t.Fatalf("round %d: %+v", round, got)
		}
		if round > 0 {
			p.pass(3 * time.Hour)
			flush(t, s)
		}
		if round == 2 {
			p.close(s)
			s = p.open()
		}
	}
	if st := s.Stats(); st.Detections != 2 || st.Blocks != 1 {
		t.Errorf("%+v", st)
	}
}

// Detections go with their video, and those without video after a while.
func TestRetain(t *testing.T) {
	p := newPlace(t)
	p.setOldest("old", day.Add(-time.Hour))
	s := p.open()
	for _, c := range []fragments.StreamName{"old", "orphan"} {
		add(t, s, seen(c, 1, 0, "x"), seen(c, 2, 3600, "x"), seen(c, 3, 30*3600, "x"))
	}
	p.pass(5 * time.Hour)
	flush(t, s)
	retain(t, s)
	check := func(when string, want ...string) {
		t.Helper()
		if got := ids(found(t, s, Query{})); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", when, got, want)
		}
	}
	check("at first", "old1", "orphan1", "old2", "orphan2", "old3", "orphan3")
	p.setOldest("old", day.Add(5*time.Minute))
	check("video goes", "orphan1", "old2", "orphan2", "old3", "orphan3")
	retain(t, s)
	if st := s.Stats(); st.Retired != 1 || st.Detections != 5 {
		t.Errorf("%+v", st)
	}
	p.setOldest("old", day.Add(20*time.Hour))
	p.pass(21 * time.Hour)
	retain(t, s)
	check("a day later", "old3", "orphan3")
	p.pass(100 * time.Hour)
	retain(t, s)
	check("later", "old3")
	if got := s.Cameras(); !slices.Equal(got, []fragments.StreamName{"old"}) {
		t.Errorf("cameras %v", got)
	}
	var objects []string
	for o, err := range s.o.Bucket.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, o.Key)
	}
	if !slices.Equal(objects, []string{"events/old/2026/11/21/16-000001.jsonl.gz"}) {
		t.Errorf("in the bucket are %s", objects)
	}
	for i := range s.meta.List(gonePrefix) {
		t.Errorf("in meta is %s", i.Key)
	}
}

func retain(t testing.TB, s *Store) {
	t.Helper()
	if err := s.retain(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// What is in memory is bounded: blocks are written early, and without a bucket no
// more is taken.
func TestBounds(t *testing.T) {
	p := newPlace(t)
	p.setOldest("c", day.Add(-time.Hour))
	p.o.MemBytes, p.o.MaxCameras = 20_000, 2
	s := p.open()
	id := 0
	some := func(n int) (list []Detection) {
		for range n {
			id++
			list = append(list, seen("c", id, float64(id), "x"))
		}
		return list
	}
	for range 20 {
		add(t, s, some(50)...)
		flush(t, s)
		if st := s.Stats(); st.MemBytes > p.o.MemBytes {
			t.Fatalf("%d bytes in memory after a flush", st.MemBytes)
		}
	}
	p.setAway(true)
	var err error
	for range 20 {
		if err = s.Add(t.Context(), some(50)); err != nil {
			break
		}
		if ferr := s.flush(t.Context()); ferr != nil && !errors.Is(ferr, errAway) {
			t.Fatal(ferr)
		}
	}
	if !errors.Is(err, ErrFull) || s.Stats().MemBytes > 5*p.o.MemBytes {
		t.Fatalf("%v, %+v", err, s.Stats())
	}
	kept := id - 50
	p.setAway(false)
	flush(t, s)
	add(t, s, seen("d", 1, 0, "x"), seen("e", 1, 0, "x"), seen("c", 1, 0, "x"))
	if st := s.Stats(); st.Refused != 1 || st.Cameras != 2 {
		t.Errorf("%+v", st)
	}
	got := found(t, s, Query{Cameras: []fragments.StreamName{"c"}, Limit: 77})
	if len(got) != kept+1 { // the last is like the first but for its time
		t.Errorf("%d found, want %d", len(got), kept+1)
	}
	if err := s.Add(t.Context(), []Detection{{Camera: "c", Label: "x"}}); !errors.Is(err, ErrBad) {
		t.Errorf("a bad one: %v", err)
	}
	p.close(s)
	if err := s.Add(t.Context(), some(1)); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// A camera that has seen something once does not hold up the lane, which a start
// has to read, while another sees much.
func TestRareCamera(t *testing.T) {
	p := newPlace(t)
	lane, err := wal.Open(t.TempDir(), wal.Options{MaxFileBytes: 32 << 10, FS: lazyDisk{}})
	if err != nil {
		t.Fatal(err)
	}
	defer lane.Close()
	p.o.Journal, p.o.LaneBytes, p.o.MemBytes = lane, 256<<10, 100_000
	s := p.open()
	add(t, s, seen("rare", 1, 0, "x"))
	const rounds, each = 200, 100
	for i := range rounds {
		var list []Detection
		for j := range each {
			list = append(list, seen("busy", i*each+j, float64(i), "x"))
		}
		add(t, s, list...)
		flush(t, s)
		if st := lane.Stats(); st.Bytes > p.o.LaneBytes {
			t.Fatalf("round %d: the lane has %d bytes", i, st.Bytes)
		}
	}
	add(t, s, seen("rare", 2, 0, "x"))
	p.close(s)
	s = p.open()
	if n := s.Stats().Added; n == 0 || n > rounds*each/4 {
		t.Errorf("the start reads %d of %d detections", n, rounds*each)
	}
	if n := len(found(t, s, Query{Limit: MaxLimit})); n != rounds*each+2 {
		t.Errorf("%d found, want %d", n, rounds*each+2)
	}
}

// An hour of more than a block holds is several blocks, merged as they grow.
func TestManyInAnHour(t *testing.T) {
	p := newPlace(t)
	p.setOldest("c", day.Add(-time.Hour))
	s := p.open()
	const n = 12_000
	order := rand.New(rand.NewPCG(1, 1)).Perm(n)
	for part := range slices.Chunk(order, 500) {
		var list []Detection
		for _, i := range part {
			list = append(list, seen("c", i, float64(i)/5, "x"))
		}
		add(t, s, list...)
		if part[0]%3 == 0 {
			flush(t, s)
		}
	}
	p.pass(3 * time.Hour)
	flush(t, s)
	got := found(t, s, Query{Limit: MaxLimit})
	if len(got) != n || !slices.IsSortedFunc(got, func(a, b Detection) int { return byKey(&a, &b) }) {
		t.Errorf("%d found", len(got))
	}
	if st := s.Stats(); st.Waiting != 0 || st.Blocks > 6 || st.Detections != n {
		t.Errorf("%+v", st)
	}
	if first, end := s.journal.Stats().First, s.journal.Stats().End; end.Less(first) {
		t.Errorf("lane from %v to %v", first, end)
	}
}

// TestModel does random operations on a store and on a map.
func TestModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	const steps = 200
	t.Logf("%d operations, seed %d", steps, seed)
	random := rand.New(rand.NewPCG(seed, 1))
	p := newPlace(t)
	p.o.MemBytes = 40_000
	s := p.open()
	names := []fragments.StreamName{"a", "b", "c"}
	for _, n := range names {
		p.setOldest(n, day.Add(-10*time.Hour))
	}
	kept := map[key]Detection{}
	for step := range steps {
		switch k := random.IntN(100); {
		case k < 60:
			var list []Detection
			for range 1 + random.IntN(30) {
				at := p.clock().Sub(day).Seconds() - random.ExpFloat64()*2000
				d := seen(names[random.IntN(3)], random.IntN(5), max(float64(int(at)), -9*3600), []string{"x", "y"}[random.IntN(2)])
				if old, ok := kept[d.key()]; ok {
					d = old // what is put again is the same
				}
				list = append(list, d)
				kept[d.key()] = d
			}
			if err := s.Add(t.Context(), list); errors.Is(err, ErrFull) {
				flush(t, s)
				add(t, s, list...)
			} else if err != nil {
				t.Fatal(err)
			}
		case k < 75:
			p.pass(time.Duration(random.IntN(90)) * time.Minute)
		case k < 90:
			p.setAway(random.IntN(3) == 0)
			if err := s.flush(t.Context()); err != nil && !errors.Is(err, errAway) {
				t.Fatalf("step %d: %v", step, err)
			}
			p.setAway(false)
		case k < 95:
			p.close(s)
			s = p.open()
		default:
			n := names[random.IntN(3)]
			p.mu.Lock()
			p.oldest[n] = p.oldest[n].Add(time.Duration(random.IntN(60)) * time.Minute)
			p.mu.Unlock()
			retain(t, s)
		}
		q := Query{Newest: random.IntN(2) == 0, Limit: 1 + random.IntN(MaxLimit)}
		if random.IntN(2) == 0 {
			q.Label = "x"
		}
		if random.IntN(2) == 0 {
			q.Start = day.Add(time.Duration(random.IntN(36000)) * time.Second)
			q.End = q.Start.Add(time.Duration(random.IntN(36000)) * time.Second)
		}
		var want []Detection
		for _, d := range kept {
			if (q.Label == "" || d.Label == q.Label) && (q.Start.IsZero() || !d.Time.Before(q.Start) && d.Time.Before(q.End)) && !d.Time.Before(p.oldest[d.Camera].Add(-margin)) {
				want = append(want, d)
			}
		}
		slices.SortFunc(want, func(a, b Detection) int { return byKey(&a, &b) })
		if q.Newest {
			slices.Reverse(want)
		}
		if got := found(t, s, q); !slices.EqualFunc(got, want, func(a, b Detection) bool { return a.key() == b.key() && a.Label == b.Label }) {
			t.Fatalf("seed %d, step %d: %+v: %d found, want %d", seed, step, q, len(got), len(want))
		}
	}
	t.Logf("%d detections, %+v", len(kept), s.Stats())
}

// Adding, finding, flushing and deleting at once.
func TestConcurrent(t *testing.T) {
	p := newPlace(t)
	p.o.Tick, p.o.MemBytes, p.o.Settle = time.Millisecond, 20_000, time.Nanosecond
	p.o.Now = time.Now
	start := time.Now().Add(-3 * time.Hour).Sub(day).Seconds()
	for i := range 4 {
		p.setOldest(fragments.StreamName(fmt.Sprint(i)), day)
	}
	s := p.open()
	var all sync.WaitGroup
	const each = 1500
	for i := range 4 {
		name := fragments.StreamName(fmt.Sprint(i))
		all.Go(func() {
			for n := range each / 5 {
				var list []Detection
				for j := range 5 {
					list = append(list, seen(name, 5*n+j, start+float64(5*n+j)*5, "x"))
				}
				for s.Add(context.Background(), list) != nil {
					time.Sleep(time.Millisecond)
				}
			}
		})
		all.Go(func() {
			before := 0
			for range 20 {
				n := 0
				q := Query{Cameras: []fragments.StreamName{name}, Limit: 1000}
				for {
					page, err := s.Find(context.Background(), q)
					if err != nil {
						t.Error(err)
						return
					}
					n += len(page.Detections)
					if q.Page = page.Next; page.Next == "" {
						break
					}
				}
				if n < before {
					t.Errorf("%d found after %d", n, before)
				}
				before = n
			}
		})
	}
	all.Wait()
	if got := found(t, s, Query{Limit: 1000}); len(got) != 4*each {
		t.Errorf("%d found, want %d", len(got), 4*each)
	}
	if s.Stats().Written == 0 {
		t.Error("no block was written meanwhile")
	}
}

// BenchmarkMillion keeps a million detections of a camera and looks for some.
func BenchmarkMillion(b *testing.B) {
	p := newPlace(b)
	p.o.FS = vfs.OS{}
	p.setOldest("c", day.Add(-time.Hour))
	s := p.open()
	const n = 1_000_000
	begin := time.Now()
	for i := 0; i < n; i += 1000 {
		var list []Detection
		for j := range 1000 {
			list = append(list, seen("c", i+j, float64(i+j), []string{"person", "car"}[j&1]))
		}
		add(b, s, list...)
		p.pass(1000 * time.Second)
		if i%50_000 == 0 {
			flush(b, s)
		}
	}
	p.pass(3 * time.Hour)
	flush(b, s)
	b.Logf("added %d in %v: %+v", n, time.Since(begin), s.Stats())
	begin = time.Now()
	p.close(s)
	s = p.open()
	b.Logf("opened in %v", time.Since(begin))
	b.ReportAllocs()
	for b.Loop() {
		q := Query{Start: day.Add(500_000 * time.Second), End: day.Add(502_000 * time.Second), Label: "car"}
		page, err := s.Find(context.Background(), q)
		if err != nil || len(page.Detections) != 100 {
			b.Fatal(len(page.Detections), err)
		}
	}
}

func TestOptions(t *testing.T) {
	p := newPlace(t)
	for i, change := range []func(*Options){
		func(o *Options) { o.Dir = "" },
		func(o *Options) { o.Bucket = nil },
		func(o *Options) { o.Videos = nil },
		func(o *Options) { o.MemBytes = -1 },
		func(o *Options) { o.MaxCameras = -1 },
	} {
		o := p.o
		change(&o)
		if _, err := Open(t.Context(), o); err == nil {
			t.Errorf("options %d are taken", i)
		}
	}
}
