package archive

import (
	"context"
	"errors"
	"io"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// recordHours records n hours of a stream, three objects of two fragments each,
// and closes those that have ended.
func recordHours(p *place, a *Archive, name fragments.StreamName, n int) {
	p.t.Helper()
	for range n {
		for range 3 {
			r := p.record(a, name)
			r.add(2)
			r.close()
			p.clock.Add(10 * time.Minute)
		}
		p.clock.Add(p.clock.Now().Truncate(time.Hour).Add(time.Hour + 10*time.Minute).Sub(p.clock.Now()))
		settled(p.t, a)
		a.chore(context.Background())
	}
}

func blockKeys(t testing.TB, a *Archive) []string {
	return slices.DeleteFunc(keysOf(t, a.bucket, "video/"), func(k string) bool { return parseKey(k).kind != keyBlock })
}

func objectKeys(t testing.TB, a *Archive) []string {
	return slices.DeleteFunc(keysOf(t, a.bucket, "video/"), func(k string) bool { return parseKey(k).kind != keyObject })
}

// TestRetention has a row for each rule; 18 fragments in 9 objects of 3 hours
// are there.
func TestRetention(t *testing.T) {
	for _, c := range []struct {
		name    string
		rule    func(o *Options, bytes int64)
		objects int // that are left
		blocks  int
	}{
		{"for ever", func(*Options, int64) {}, 9, 3},
		{"age of a whole hour", func(o *Options, _ int64) { o.Retention.MaxAge = 130 * time.Minute }, 6, 2},
		{"age within an hour", func(o *Options, _ int64) { o.Retention.MaxAge = 115 * time.Minute }, 5, 2},
		{"age of all", func(o *Options, _ int64) { o.Retention.MaxAge = time.Minute }, 0, 0},
		{"bytes", func(o *Options, b int64) { o.Retention.MaxBytes = b * 10 / 18 }, 5, 2},
		{"bytes not exactly", func(o *Options, b int64) { o.Retention.MaxBytes = b*10/18 - 1 }, 4, 2},
		{"bytes of an hour", func(o *Options, b int64) { o.Retention.MaxBytes = b * 6 / 18 }, 3, 1},
		{"no bytes", func(o *Options, _ int64) { o.Retention.MaxBytes = 1 }, 0, 0},
		{"of another stream", func(o *Options, _ int64) {
			o.Retention.MaxBytes = 1
			o.RetentionOf = func(n fragments.StreamName) (Retention, bool) { return Retention{}, n == "cam" }
		}, 9, 3},
		{"free space", func(o *Options, b int64) {
			o.MinFree = 1000 + b*3/18
			o.Free = func() (int64, error) { return 1000, nil }
		}, 7, 3},
		{"enough space", func(o *Options, b int64) {
			o.MinFree = 1000
			o.Free = func() (int64, error) { return 1000, nil }
		}, 9, 3},
		{"unknown space", func(o *Options, b int64) {
			o.MinFree = 1000
			o.Free = func() (int64, error) { return 0, errAway }
		}, 9, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlace(t)
			a := p.open()
			recordHours(p, a, "cam", 3)
			all := listed(t, a, "cam")
			info, _ := a.Stream("cam")
			if len(all) != 18 || len(blockKeys(t, a)) != 3 {
				t.Fatalf("recorded %d fragments, %v", len(all), blockKeys(t, a))
			}
			p.close(a)
			c.rule(&p.opts, info.Bytes)
			a = p.open()
			a.retain(context.Background())
			want := all[len(all)-2*c.objects:]
			for range 2 {
				if got := listed(t, a, "cam"); !slices.EqualFunc(got, want, equalEntries) {
					t.Fatalf("%v are left, want %v", numbers(got), numbers(want))
				}
				if o, b := len(objectKeys(t, a)), len(blockKeys(t, a)); o != c.objects || b != c.blocks {
					t.Fatalf("%d objects and %d blocks are left, want %d and %d", o, b, c.objects, c.blocks)
				}
				info, _ = a.Stream("cam")
				if info.Fragments != int64(len(want)) || len(want) > 0 && (!equalEntries(info.First, want[0]) || !equalEntries(info.Last, all[17])) {
					t.Fatalf("stream is %+v", info)
				}
				checkReadable(t, a, "cam", want)
				if len(want) < len(all) {
					_, err1 := a.ReadRun(context.Background(), "cam", all[0], 0)
					_, err2 := a.Entry(context.Background(), "cam", all[0].Number)
					if !errors.Is(err1, ErrNoFragment) || !errors.Is(err2, ErrNoFragment) {
						t.Fatalf("a deleted fragment: %v, %v", err1, err2)
					}
				}
				p.close(a)
				p.opts.MinFree = 0 // it would go on deleting
				a = p.open()
				a.retain(context.Background())
			}
			report, err := Verify(context.Background(), p.opts.Bucket, nil)
			if err != nil || len(report.Problems) > 0 {
				t.Fatalf("verify: %v, %+v", err, report)
			}
			checkReadable(t, a, "cam", p.record(a, "cam").recorded(2))
		})
	}
}

func (r *recorder) recorded(n int) []*Entry {
	r.add(n)
	all := listed(r.t, r.a, r.l.Stream)
	return all[len(all)-n:]
}

// TestRetentionOfOpenHours deletes what no block tells of yet, and nothing that
// is not in the bucket.
func TestRetentionOfOpenHours(t *testing.T) {
	p := newPlace(t)
	p.opts.Retention.MaxBytes = 1
	whole := p.opts.Bucket
	a := p.open()
	r := p.record(a, "cam")
	r.add(2)
	r.close()
	settled(t, a)
	r = p.record(a, "cam")
	r.add(2)
	all := listed(t, a, "cam")
	for range 2 {
		a.retain(context.Background())
		if got := listed(t, a, "cam"); !slices.EqualFunc(got, all[2:], equalEntries) {
			t.Fatalf("%v are left", numbers(got))
		}
		if keys := slices.DeleteFunc(keysOf(t, whole, "video/"), func(k string) bool { return parseKey(k).kind != keyObject }); len(keys) != 0 {
			t.Fatalf("left are %v", keys)
		}
		p.crash(a)
		p.opts.Bucket = &flaky{Bucket: whole, away: true} // keep it in the spool
		a = p.open()
	}
}

// TestFreeSpaceTakesTheOldest of all streams.
func TestFreeSpaceTakesTheOldest(t *testing.T) {
	p := newPlace(t)
	a := p.open()
	recordHours(p, a, "young", 0)
	recordHours(p, a, "old", 1)
	recordHours(p, a, "young", 1)
	info, _ := a.Stream("old")
	p.close(a)
	p.opts.Free = func() (int64, error) { return 1000, nil }
	p.opts.MinFree = 1000 + info.Bytes + 1
	a = p.open()
	a.retain(context.Background())
	if o, y := len(listed(t, a, "old")), len(listed(t, a, "young")); o != 0 || y != 4 {
		t.Fatalf("%d of the old, %d of the young stream are left", o, y)
	}
}

// TestReaderInFlight: one that is open when its object is deleted ends well.
func TestReaderInFlight(t *testing.T) {
	p := newPlace(t)
	a := p.open()
	r := p.record(a, "cam")
	r.add(1)
	r.close()
	settled(t, a)
	e := listed(t, a, "cam")[0]
	body, err := a.OpenRange(context.Background(), "cam", e, e.Offset, e.Size)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	changed := a.Changed("cam")
	if err := a.DeleteStream(context.Background(), "cam"); err != nil {
		t.Fatal(err)
	}
	<-changed
	a.sweepGone(context.Background())
	data, err := io.ReadAll(body)
	if err != nil && !errors.Is(err, ErrNoFragment) || err == nil && checksum(data) != e.CRC {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
	if _, err := a.OpenRange(context.Background(), "cam", e, e.Offset, e.Size); !errors.Is(err, ErrNoStream) {
		t.Fatalf("of a deleted stream: %v", err)
	}
}

// TestDeleteStream deletes a stream that is being recorded, with a crash before
// its objects are gone, and makes it again.
func TestDeleteStream(t *testing.T) {
	p := newPlace(t)
	a := p.open()
	recordHours(p, a, "cam", 2)
	recordHours(p, a, "cam2", 1)
	kept := listed(t, a, "cam2")
	r := p.record(a, "cam")
	r.add(2)
	open := r.begin()
	if err := a.DeleteStream(context.Background(), "cam"); err != nil {
		t.Fatal(err)
	}
	if err := r.w.Commit(context.Background(), r.l, r.g.next(open)); !errors.Is(err, ErrNoStream) {
		t.Fatalf("commit to a deleted stream: %v", err)
	}
	if err := a.DeleteStream(context.Background(), "cam"); !errors.Is(err, ErrNoStream) {
		t.Fatalf("deleted twice: %v", err)
	}
	if st := a.Stats(); st.SpoolBytes != 0 {
		t.Fatalf("%d bytes are thought to be in the spool", st.SpoolBytes)
	}
	p.crash(a)
	a = p.open()
	if len(a.Streams()) != 1 {
		t.Fatalf("streams after reopening: %+v", a.Streams())
	}
	again := p.record(a, "cam")
	again.add(1)
	if again.l.Created.Equal(r.l.Created) {
		t.Fatal("made again in the same folder")
	}
	a.retain(context.Background())
	old := streamDir("cam", r.l.Created)
	if keys := keysOf(t, p.opts.Bucket, "video/"+old); len(keys) != 0 {
		t.Fatalf("left are %v", keys)
	}
	for _, prefix := range []string{gonePrefix, trackPrefix + old, hourPrefix + old} {
		for item := range a.meta.List(prefix) {
			t.Fatalf("left in the catalog: %s", item.Key)
		}
	}
	if got := listed(t, a, "cam2"); !reflect.DeepEqual(got, kept) {
		t.Fatal("another stream has changed")
	}
	checkReadable(t, a, "cam", listed(t, a, "cam"))
}

// TestRetentionResumes stops a retention at each of its steps by a bucket that
// goes away, crashes, and has it done by the next.
func TestRetentionResumes(t *testing.T) {
	for fails := range 8 {
		p := newPlace(t)
		a := p.open()
		recordHours(p, a, "cam", 2)
		all := listed(t, a, "cam")
		p.close(a)
		whole := p.opts.Bucket
		p.opts.Bucket = &flaky{Bucket: whole, after: fails}
		p.opts.Retention.MaxBytes = a.Stats().Bytes * 5 / 12
		a = p.open()
		a.retain(context.Background())
		first, hidden := listed(t, a, "cam"), fails > 0 // the block is needed to decide
		if hidden && !slices.EqualFunc(first, all[8:], equalEntries) {
			t.Fatalf("%d operations: %v are left", fails, numbers(first))
		}
		p.crash(a)
		p.opts.Bucket = whole
		if fails%2 == 1 {
			// What is hidden stays hidden after a rebuild, too, once stream.json says so.
			a = p.open()
			a.retain(context.Background())
			p.close(a)
			checkRebuilt(t, p.opts, map[fragments.StreamName][]*Entry{"cam": all[8:]})
		}
		a = p.open()
		a.retain(context.Background())
		if got := listed(t, a, "cam"); !slices.EqualFunc(got, all[8:], equalEntries) {
			t.Fatalf("%d operations: %v are left in the end", fails, numbers(got))
		}
		if n := len(objectKeys(t, a)); n != 2 {
			t.Fatalf("%d operations: %d objects are left", fails, n)
		}
		p.close(a)
	}
}

// TestDeleteWhileUploading: an object that is on its way when its stream is
// deleted does not stay in the bucket.
func TestDeleteWhileUploading(t *testing.T) {
	p := newPlace(t)
	b := &flaky{Bucket: p.opts.Bucket}
	p.opts.Bucket = b
	a := p.open()
	r := p.record(a, "cam")
	r.add(1)
	s, _ := a.stream("cam")
	if err := a.writeSettings(context.Background(), s, false); err != nil {
		t.Fatal(err)
	}
	b.set(false, 100*time.Millisecond)
	r.close()
	for b.count() < 2 { // the upload has begun
		time.Sleep(time.Millisecond)
	}
	if err := a.DeleteStream(context.Background(), "cam"); err != nil {
		t.Fatal(err)
	}
	b.set(false, 0)
	a.retain(context.Background())
	settled(t, a)
	if n := len(keysOf(t, b, "video/cam@")); n == 0 {
		t.Fatal("the upload did not outlive the deletion: nothing was tested")
	}
	a.retain(context.Background())
	if keys := keysOf(t, b, "video/cam@"); len(keys) > 0 {
		t.Fatalf("left are %v", keys)
	}
}

// What is durable and held back by an open number is not deleted before anybody
// could see it.
func TestRetentionSparesWhatIsHeldBack(t *testing.T) {
	p := newPlace(t)
	p.opts.Retention.MaxBytes = 1
	a := p.open()
	r := p.record(a, "cam")
	seen := r.add(1)
	first, second := r.begin(), r.begin()
	r.commit(second)
	a.all()[0].sealAged(p.clock.Now().Add(time.Hour))
	settled(t, a)
	a.retain(context.Background())
	r.commit(first)
	if got, want := numbers(listed(t, a, "cam")), append(seen, first, second); !slices.Equal(got, want) {
		t.Errorf("after retention %v, want %v", got, want)
	}
}
