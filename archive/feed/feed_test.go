package feed

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
)

func parse(t testing.TB, data []byte) Record {
	t.Helper()
	var r Record
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return r
}

// numbersOf returns what was put of a stream, in order.
func numbersOf(t testing.TB, puts []put, stream fragments.StreamName) (list []fragments.Number) {
	t.Helper()
	for _, p := range puts {
		if r := parse(t, p.data); r.Stream == stream {
			list = append(list, r.Number)
		}
	}
	return list
}

// The record says what was recorded, frame by frame.
func TestRecord(t *testing.T) {
	h, m := newHouse(t, nil), newMemory()
	h.feed(t, m, nil)
	c := record(t, h.archive, "front.door-1")
	numbers := c.add(2)
	m.wait(t, 2)
	p := m.all()[1]
	if p.stream != "metadata" || p.key != "front.door-1" || m.made != 1 {
		t.Errorf("put to %s with key %s, made %d times", p.stream, p.key, m.made)
	}
	r := parse(t, p.data)
	start := c.lease.Created.Add(c.at - 2*time.Second)
	info, err := h.archive.Stream("front.door-1")
	if err != nil {
		t.Fatal(err)
	}
	var pictures, sound []Frame
	for i := range 10 {
		pictures = append(pictures, Frame{PTS: int64(i) * 200_000, Size: 4 + 200 + i, Key: i == 0}) // with its length, as kept
	}
	for i := range 4 { // the first picture is shown a picture after sound begins
		sound = append(sound, Frame{PTS: int64(i)*500_000 - 200_000, Size: 30 + i})
	}
	for i, f := range r.Tracks[1].Frames { // ticks of either track are not whole microseconds
		if d := f.PTS - sound[i].PTS; d < -25 || d > 25 {
			t.Errorf("sound frame %d at %d, want %d", i, f.PTS, sound[i].PTS)
		}
		sound[i].PTS = f.PTS
	}
	micro := func(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
	want := Record{
		V: 1, Type: "fragment", Stream: "front.door-1", Number: numbers[1],
		ProducerStart: micro(start.Add(-150 * time.Millisecond)), ProducerEnd: micro(start.Add(1850 * time.Millisecond)),
		ServerStart: micro(start), ServerEnd: micro(start.Add(2 * time.Second)), DurationMs: 2000, Bytes: info.Last.Size,
		Tracks: []Track{
			{ID: 1, Kind: "video", Codec: "H264", Width: 320, Height: 180, Samples: 10, Bytes: info.Last.Runs[0].Size, Frames: pictures},
			{ID: 2, Kind: "audio", Codec: "AAC", SampleRate: 48000, Channels: 2, Samples: 4, Bytes: info.Last.Runs[1].Size, Frames: sound},
		},
	}
	for i := range pictures { // a tick may be rounded away
		if d := r.Tracks[0].Frames[i].PTS - pictures[i].PTS; d < -12 || d > 12 {
			t.Errorf("picture %d at %d, want %d", i, r.Tracks[0].Frames[i].PTS, pictures[i].PTS)
		}
		pictures[i].PTS = r.Tracks[0].Frames[i].PTS
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("record\n%+v\nwant\n%+v", r, want)
	}
}

// What AppendJSON writes is what json.Marshal would.
func TestAppendJSON(t *testing.T) {
	at := time.Date(2026, 11, 23, 16, 10, 0, 123456000, time.UTC)
	full := Record{
		V: 1, Type: "fragment", Stream: "a_b", Number: fragments.Number{Epoch: 3, Counter: 9}, ProducerStart: at, ProducerEnd: at, ServerStart: at, ServerEnd: at,
		DurationMs: 1, Bytes: 2, Dependent: true, Discontinuity: true, Tags: map[string]string{"k\n": "\"v"}, FramesLeftOut: "size",
		Tracks: []Track{
			{ID: 1, Kind: "other", Codec: "S_TEXT/\"<x>", Width: 1, Height: 2, SampleRate: 3, Channels: 4, Samples: 5, Bytes: 6, Frames: []Frame{{-7, 8, true}, {9, 10, false}}},
			{Frames: []Frame{}},
		},
	}
	for _, r := range []Record{full, {Tracks: []Track{}, ProducerStart: at, ProducerEnd: at, ServerStart: at, ServerEnd: at}} {
		want, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.AppendJSON(nil); string(got) != string(want) {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
}

// A record stays below its limit, and says what it lacks.
func TestFit(t *testing.T) {
	for _, c := range []struct {
		frames, keys, limit int
		why                 string
		left                int
	}{
		{100, 5, 16 << 10, "", 100},
		{10_000, 5, 16 << 10, LeftOutSize, 5},
		{10_000, 10_000, 16 << 10, LeftOutSize, 0},
		{20_000, 5, 1 << 20, "", 20_000},
	} {
		var frames []Frame
		for i := range c.frames {
			frames = append(frames, Frame{PTS: int64(i) * 40_000, Size: 10_000, Key: i < c.keys})
		}
		r := Record{Stream: "s", Tracks: []Track{{Kind: "video", Frames: frames}}}
		data := r.fit(nil, c.limit)
		got := parse(t, data)
		if len(data) > c.limit || got.FramesLeftOut != c.why || len(got.Tracks[0].Frames) != c.left {
			t.Errorf("%d frames in %d bytes: %d bytes, %d frames left, left out %q", c.frames, c.limit, len(data), len(got.Tracks[0].Frames), got.FramesLeftOut)
		}
	}
}

func TestLargeFragmentIsSummarised(t *testing.T) {
	h, m := newHouse(t, nil), newMemory()
	h.feed(t, m, func(o *Options) { o.MaxRecord = minRecord })
	c := record(t, h.archive, "cam")
	c.many = 4000
	c.add(1)
	m.wait(t, 1)
	data := m.all()[0].data
	r := parse(t, data)
	if len(data) > minRecord || r.FramesLeftOut != LeftOutSize || len(r.Tracks[0].Frames) != 1 || r.Tracks[0].Samples != 4000 {
		t.Errorf("%d bytes, left out %q, %d frames", len(data), r.FramesLeftOut, len(r.Tracks[0].Frames))
	}
}

// A record is there within 100 ms of its commit.
func TestPrompt(t *testing.T) {
	h, m := newHouse(t, nil), newMemory()
	f := h.feed(t, m, nil)
	c := record(t, h.archive, "cam")
	var took []time.Duration
	for i := range 100 {
		c.add(1)
		committed := time.Now()
		m.wait(t, 1)
		took = append(took, m.all()[i].at.Sub(committed))
	}
	slices.Sort(took)
	t.Logf("after the commit: median %v, 99 of 100 within %v, longest %v", took[50], took[98], took[99])
	if took[95] > 100*time.Millisecond {
		t.Errorf("records are late: %v", took[90:])
	}
	shut(t, f)
	if st := f.Stats(); st.Records != 100 || st.Waiting != 0 || st.Lag != 0 || st.Failures != 0 || st.Bytes == 0 {
		t.Errorf("stats %+v", st)
	}
}

// Every fragment of every stream is put, in order, although the data stream comes
// and goes and the feed is opened anew.
func TestResume(t *testing.T) {
	h, m := newHouse(t, nil), newMemory()
	const streams, rounds = 5, 6
	var cameras []*camera
	want := map[fragments.StreamName][]fragments.Number{}
	f := h.feed(t, m, nil)
	for i := range streams {
		cameras = append(cameras, record(t, h.archive, name(i)))
	}
	for round := range rounds {
		if round%2 == 1 {
			m.setAway(errors.New("away"))
		}
		for i, c := range cameras {
			want[name(i)] = append(want[name(i)], c.add(3)...)
		}
		if round%2 == 1 {
			for f.Stats().Failures == 0 {
				time.Sleep(time.Millisecond)
			}
			if st := f.Stats(); st.Waiting == 0 || st.LastError == "" {
				t.Errorf("while the data stream is away: %+v", st)
			}
			shut(t, f)
			m.setAway(nil)
			f = h.feed(t, m, nil)
		}
	}
	shut(t, f)
	for stream, numbers := range want {
		got := numbersOf(t, m.all(), stream)
		if !slices.Equal(got, numbers) {
			t.Errorf("%s: put %v, want %v", stream, got, numbers)
		}
	}
}

// A data stream that hangs does not hold up recording, nor Close for longer than
// its context.
func TestHangingTarget(t *testing.T) {
	h, m := newHouse(t, nil), newMemory()
	m.block = make(chan struct{})
	f := h.feed(t, m, func(o *Options) { o.PutTimeout = time.Hour })
	start := time.Now()
	for i := range 20 {
		record(t, h.archive, name(i)).add(3)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("recording took %v", took)
	}
	if st := f.Stats(); st.Waiting != 60 {
		t.Errorf("%d wait, want 60", st.Waiting)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	f.Close(ctx)
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("closed after %v", took)
	}
	m.block = nil
	shut(t, h.feed(t, m, nil))
	if got := len(m.all()); got != 60 {
		t.Errorf("%d put in the end, want 60", got)
	}
}

// What the archive makes visible as it closes is fed as well.
func TestCloseFeedsTheRest(t *testing.T) {
	h, m := newHouse(t, nil), newMemory()
	f := h.feed(t, m, nil)
	for i := range 5 {
		c := record(t, h.archive, name(i))
		if _, err := c.w.Begin(c.lease); err != nil { // holds the others back
			t.Fatal(err)
		}
		c.add(20)
	}
	if st := f.Stats(); st.Records != 0 {
		t.Errorf("%d fed of what is held back", st.Records)
	}
	if err := h.archive.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	shut(t, f)
	if got := len(m.all()); got != 100 {
		t.Errorf("%d put, want 100", got)
	}
}

// What was recorded before the first use is not fed; streams deleted and made
// anew begin at their beginning; cursors of deleted ones go.
func TestBeginnings(t *testing.T) {
	h, m := newHouse(t, nil), newMemory()
	old := record(t, h.archive, "old")
	old.add(5)
	f := h.feed(t, m, nil)
	numbers := old.add(1)
	m.wait(t, 1)
	if got := numbersOf(t, m.all(), "old"); !slices.Equal(got, numbers) {
		t.Errorf("put %v, want %v", got, numbers)
	}
	shut(t, f)
	if err := h.archive.DeleteStream(t.Context(), "old"); err != nil {
		t.Fatal(err)
	}
	anew := record(t, h.archive, "old").add(2)
	other := record(t, h.archive, "other").add(1)
	f = h.feed(t, m, nil)
	shut(t, f)
	if got := numbersOf(t, m.all()[1:], "old"); !slices.Equal(got, anew) {
		t.Errorf("made anew: put %v, want %v", got, anew)
	}
	if got := numbersOf(t, m.all(), "other"); !slices.Equal(got, other) {
		t.Errorf("made meanwhile: put %v, want %v", got, other)
	}
	if err := h.archive.DeleteStream(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	shut(t, h.feed(t, m, nil))
	for item := range h.meta.List(cursorPrefix) {
		if item.Key != cursorPrefix+"old" {
			t.Errorf("cursor %s is left", item.Key)
		}
	}
}

// Retention that is faster than the feed leaves a gap, which is counted.
func TestGap(t *testing.T) {
	h, m := newHouse(t, func(o *archive.Options) {
		o.SealBytes, o.Tick, o.Retention.MaxBytes = 8_000, 5*time.Millisecond, 20_000
	}), newMemory()
	m.setAway(errors.New("away"))
	f := h.feed(t, m, nil)
	c := record(t, h.archive, "cam")
	c.add(40)
	for {
		info, err := h.archive.Stream("cam")
		if err != nil {
			t.Fatal(err)
		}
		if info.Floor.Counter > 5 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	m.setAway(nil)
	numbers := c.add(1)
	for len(m.all()) == 0 || !slices.Contains(numbersOf(t, m.all(), "cam"), numbers[0]) {
		time.Sleep(time.Millisecond)
	}
	shut(t, f)
	st := f.Stats()
	if st.Gaps == 0 || st.Missed+st.Records < 41 {
		t.Errorf("%d gaps, %d missed, %d put, of 41", st.Gaps, st.Missed, st.Records)
	}
	got := numbersOf(t, m.all(), "cam")
	for i := 1; i < len(got); i++ {
		if !got[i-1].Less(got[i]) {
			t.Errorf("%s after %s", got[i], got[i-1])
		}
	}
}

// Damaged media do not hold the feed up.
func TestDamaged(t *testing.T) {
	folder := t.TempDir()
	h, err := openHouse(folder, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	m := newMemory()
	m.setAway(errors.New("away"))
	f := h.feed(t, m, nil)
	record(t, h.archive, "cam").add(2)
	info, _ := h.archive.Stream("cam")
	files, _ := filepath.Glob(filepath.Join(folder, "data", "spool", "*", "*.mp4"))
	if len(files) != 1 {
		t.Fatal(files)
	}
	w, err := os.OpenFile(files[0], os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.WriteAt([]byte("x"), info.First.Runs[0].Offset+info.First.Runs[0].Size-1)
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	for f.Stats().Failures == 0 {
		time.Sleep(time.Millisecond)
	}
	m.setAway(nil)
	m.wait(t, 2)
	first, second := parse(t, m.all()[0].data), parse(t, m.all()[1].data)
	if first.FramesLeftOut != LeftOutDamaged || len(first.Tracks[0].Frames) != 0 || second.FramesLeftOut != "" || len(second.Tracks[0].Frames) != 10 {
		t.Errorf("left out %q and %q", first.FramesLeftOut, second.FramesLeftOut)
	}
	if f.Stats().Damaged == 0 {
		t.Error("not counted")
	}
}

func TestOptions(t *testing.T) {
	h := newHouse(t, nil)
	good := Options{Archive: h.archive, Target: newMemory(), Stream: "s", Meta: h.meta}
	for i, change := range []func(*Options){
		func(o *Options) { o.Archive = nil },
		func(o *Options) { o.Target = nil },
		func(o *Options) { o.Stream = "" },
		func(o *Options) { o.Meta = nil },
		func(o *Options) { o.Workers = -1 },
		func(o *Options) { o.MaxRecord = 100 },
		func(o *Options) { o.RetryMin, o.RetryMax = 2, 1 },
	} {
		o := good
		change(&o)
		if _, err := New(t.Context(), o); err == nil {
			t.Errorf("options %d are taken", i)
		}
	}
}

func BenchmarkRecord(b *testing.B) {
	h := newHouse(b, nil)
	record(b, h.archive, "cam").add(1)
	info, _ := h.archive.Stream("cam")
	d := &describer{archive: h.archive, limit: 1 << 20}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.record(context.Background(), "cam", info.Last); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(info.Last.Size)
}
