package archive

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/wal"
	"github.com/kineweir/kineweir/fragments"
)

// TestHourRoll: with the hour the segment, once all is in the bucket the block,
// and the journal is given up; a clock that steps back opens no closed hour.
func TestHourRoll(t *testing.T) {
	p := newPlace(t)
	lane := &strictLane{Journal: openLane(t)}
	p.opts.Journal = lane
	a := p.open()
	r := p.record(a, "cam")
	p.clock.Add(time.Hour - 10*time.Minute - 5*time.Second) // 16:59:55
	r.add(4)
	r.p.clock.Add(50 * time.Second) // 17:00:53
	a.chore(context.Background())
	if keys := blockKeys(t, a); len(keys) != 0 {
		t.Fatalf("closed while a segment is open: %v", keys)
	}
	p.clock.Add(10 * time.Second)
	a.chore(context.Background()) // seals by age
	settled(t, a)
	late := r.begin()
	p.clock.Add(-70 * time.Second) // the server clock steps back to 16:59:53
	a.chore(context.Background())
	r.commit(late)
	first := listed(t, a, "cam")
	if hours := hoursOf(first); !slices.Equal(hours, []string{"2026/11/23/16", "2026/11/23/16", "2026/11/23/16", "2026/11/23/17", "2026/11/23/17"}) {
		t.Fatalf("hours are %v", hours)
	}
	p.clock.Add(3 * time.Minute)
	a.chore(context.Background())
	settled(t, a)
	a.chore(context.Background())
	if keys := blockKeys(t, a); len(keys) != 1 {
		t.Fatalf("blocks: %v", keys)
	}
	if s, _ := a.stream("cam"); len(s.hours) != 1 || len(s.closed) != 1 {
		t.Fatalf("%d open and %d closed hours", len(s.hours), len(s.closed))
	}
	if lane.trimmed == (journal.Position{}) {
		t.Fatal("the journal is not trimmed")
	}
	p.clock.Add(-20 * time.Minute)
	r.add(1)
	all := listed(t, a, "cam")
	if hours := hoursOf(all[5:]); !slices.Equal(hours, []string{"2026/11/23/17"}) {
		t.Fatalf("after the clock stepped back: %v", hours)
	}
	if !slices.EqualFunc(all[:5], first, equalEntries) {
		t.Fatal("a closed hour reads otherwise than an open one")
	}
	checkReadable(t, a, "cam", all)
	for _, e := range all {
		got, err := a.Entry(context.Background(), "cam", e.Number)
		if err != nil || !equalEntries(got, e) {
			t.Fatalf("%s: %+v, %v", e.Number, got, err)
		}
		for i := range e.Runs {
			if track, err := a.Track("cam", e.Runs[i].Config); err != nil || track.Hash() != e.Runs[i].Config {
				t.Fatalf("track %s: %v", e.Runs[i].Config, err)
			}
		}
	}
	p.close(a)
	a = p.open()
	if got := listed(t, a, "cam"); !slices.EqualFunc(got, all, equalEntries) {
		t.Fatalf("after reopening: %v", numbers(got))
	}
	if info, _ := a.Stream("cam"); !equalEntries(info.First, all[0]) || !equalEntries(info.Last, all[5]) || info.Fragments != 6 {
		t.Fatalf("after reopening: %+v", info)
	}
}

// strictLane is a journal that forgets what may be forgotten at once.
type strictLane struct {
	journal.Journal
	trimmed journal.Position
}

func openLane(t testing.TB) *wal.Lane {
	t.Helper()
	l, err := wal.Open(t.TempDir(), wal.Options{FS: lazyDisk{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func (l *strictLane) Trim(before journal.Position) error {
	if l.trimmed.Less(before) {
		l.trimmed = before
	}
	return nil
}

func (l *strictLane) Read(from journal.Position) iter.Seq2[journal.Entry, error] {
	if from.Less(l.trimmed) {
		from = l.trimmed
	}
	return l.Journal.Read(from)
}

func hoursOf(entries []*Entry) []string {
	var list []string
	for _, e := range entries {
		list = append(list, parseKey(e.Object).hour.path())
	}
	return list
}

// TestCloseDuringCommit: an hour that a commit is under way to is not closed,
// and a late fragment of a closed hour goes to the next.
func TestCloseDuringCommit(t *testing.T) {
	p := newPlace(t)
	a := p.open()
	r := p.record(a, "cam")
	r.add(1)
	early := r.g.next(r.begin()) // of this hour
	p.clock.Add(90 * time.Second)
	a.chore(context.Background())
	settled(t, a)
	p.clock.Add(time.Hour)
	a.chore(context.Background())
	if n := len(blockKeys(t, a)); n != 1 {
		t.Fatalf("%d blocks", n)
	}
	if err := r.w.Commit(context.Background(), r.l, early); err != nil {
		t.Fatal(err)
	}
	all := listed(t, a, "cam")
	if hours := hoursOf(all); !slices.Equal(hours, []string{"2026/11/23/16", "2026/11/23/17"}) {
		t.Fatalf("hours are %v", hours)
	}
	checkReadable(t, a, "cam", all)
}

// TestSelect compares every kind of selection with a plain filter, over open and
// closed hours, with a producer clock that steps back and forth.
func TestSelect(t *testing.T) {
	p := newPlace(t)
	a := p.open()
	steps := []time.Duration{0, -90 * time.Minute, 20 * time.Minute, 3 * time.Hour, 0}
	start := p.clock.Now()
	for _, step := range steps {
		r := p.record(a, "cam")
		for range 3 {
			n := r.begin()
			f := r.g.next(n)
			f.Producer += fragments.ProducerTimestamp(step)
			if n.Counter == 2 {
				f.Duration = 0
			}
			p.clock.Add(10 * time.Minute)
			r.g.at = sinceCreation(r.l.Created, p.clock.Now())
			if err := r.w.Commit(context.Background(), r.l, f); err != nil {
				t.Fatal(err)
			}
		}
		r.close()
		settled(t, a)
		a.chore(context.Background())
	}
	all := listed(t, a, "cam")
	s, _ := a.stream("cam")
	if len(all) != 15 || len(s.closed) < 2 || len(s.hours) < 1 {
		t.Fatalf("%d entries, %d closed, %d open hours", len(all), len(s.closed), len(s.hours))
	}
	var edges []time.Time
	for m := -120; m < 400; m += 7 {
		edges = append(edges, start.Add(time.Duration(m)*time.Minute))
	}
	for _, e := range all {
		edges = append(edges, e.Producer.Time(), e.End().Time(), e.Server.Time())
	}
	edges = append(edges, time.Time{}, time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC), time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC))
	selections := 0
	for _, clock := range []fragments.Clock{fragments.ByProducer, fragments.ByServer} {
		for i, from := range edges {
			for j, to := range edges {
				if (i*31+j*17)%5 != 0 { // a fifth of them is plenty
					continue
				}
				sel := fragments.Selector{Clock: clock, Start: from, End: to}
				if got, want := selected(t, a, "cam", sel), plainly(all, sel); !slices.EqualFunc(got, want, equalEntries) {
					t.Fatalf("%+v: %v, want %v", sel, numbers(got), numbers(want))
				}
				selections++
			}
		}
	}
	t.Logf("%d selections", selections)
}

// plainly selects as the comment of Selector says.
func plainly(all []*Entry, sel fragments.Selector) []*Entry {
	var list []*Entry
	for _, e := range all {
		start, end := e.Producer.Time(), e.End().Time()
		if sel.Clock == fragments.ByServer {
			start, end = e.Server.Time(), e.Server.Time().Add(e.Duration)
		}
		before := !sel.End.IsZero() && !start.Before(sel.End)
		after := !sel.Start.IsZero() && !end.After(sel.Start) && start.Before(sel.Start)
		if !before && !after {
			list = append(list, e)
		}
	}
	return list
}

// TestReadsOnlyItsHours: a selection reads no block but those of its hours, and
// those once.
func TestReadsOnlyItsHours(t *testing.T) {
	p := newPlace(t)
	a := p.open()
	start := p.clock.Now()
	recordHours(p, a, "cam", 5)
	p.close(a)
	a = p.open()
	if n := a.Stats().BlocksRead; n != 0 {
		t.Fatalf("opening reads %d blocks", n)
	}
	a.Streams()
	sel := fragments.Selector{Start: start.Truncate(time.Hour).Add(time.Hour), End: start.Truncate(time.Hour).Add(3*time.Hour - time.Minute)}
	for range 2 {
		if n := len(selected(t, a, "cam", sel)); n != 12 {
			t.Fatalf("%d fragments", n)
		}
		if n := a.Stats().BlocksRead; n != 2 {
			t.Fatalf("%d blocks were read for two hours", n)
		}
	}
	// A bucket that is away gives an error, not a short list.
	a.bucket = &flaky{Bucket: a.bucket, away: true}
	count, failed := 0, false
	for _, err := range a.Fragments(context.Background(), "cam", fragments.Selector{}) {
		count++
		failed = err != nil
	}
	if count != 1 || !failed {
		t.Fatalf("%d results, failed %v", count, failed)
	}
}

// TestCacheIsBounded by its cost, and keeps what was used last.
func TestCacheIsBounded(t *testing.T) {
	o := testObject(testCreated, testVideo(), testAudio())
	b := &block{entries: steady(o, 10)}
	c := newBlockCache(3*b.cost() + 1)
	for i := range 10 {
		c.put(fmt.Sprint(i), b)
		c.get("0")
	}
	if c.used != 3*b.cost() || c.get("0") == nil || c.get("9") == nil || c.get("5") != nil {
		t.Fatalf("uses %d of %d", c.used, c.limit)
	}
	c.forget("0")
	c.forget("none")
	if c.get("0") != nil || c.used != 2*b.cost() {
		t.Fatal("not forgotten")
	}
}
