package archive

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"reflect"
	"sort"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
)

func testObject(created time.Time, tracks ...*fragments.Track) *objectID {
	first := fragments.Number{Epoch: 7, Counter: 100}
	o := &objectID{dir: streamDir("cam", created), created: created, first: first, base: 36 * time.Hour}
	o.opened = fragments.ServerTime(created.Add(o.base + 150*time.Millisecond))
	o.hour = hourOf(o.opened)
	o.key = objectKey(o.dir, o.hour, first)
	for _, t := range tracks {
		o.tracks = append(o.tracks, refTrack(t))
	}
	return o
}

var testCreated = time.UnixMilli(1_795_450_000_123).UTC()

// steady makes n entries of a steady camera with sound.
func steady(o *objectID, n int) []*Entry {
	g := newSynthetic(o.created, o.created.Add(o.base))
	var list []*Entry
	at := int64(2000)
	for i := range n {
		f := g.next(fragments.Number{Epoch: o.first.Epoch, Counter: o.first.Counter + uint64(i)})
		e := &Entry{
			Number: f.Number, Producer: f.Producer + fragments.ProducerTimestamp(i%7)*31_111, Server: f.Server + fragments.ServerTimestamp(i%5)*1_234_567,
			Duration: f.Duration, Object: o.key, Base: o.base, CRC: rand.Uint32(), Offset: at + 110,
		}
		at = e.Offset + 32
		for j, r := range f.Runs {
			t := o.tracks[j]
			size := int64(480_000 + 1000*(i%9))
			if t.Kind() == fragments.KindAudio {
				size = 32_000 + int64(i%11)
			}
			e.Runs = append(e.Runs, EntryRun{
				Track: t.ID, Config: t.hash, Kind: t.Kind(), TimeScale: t.TimeScale, DecodeTime: r.DecodeTime, Duration: r.Duration,
				Samples: r.Samples, Offset: at, Size: size, CRC: rand.Uint32(),
			})
			at += size
		}
		e.Size = at - e.Offset
		list = append(list, e)
	}
	return list
}

// odd makes entries of everything that is unusual.
func odd(o *objectID) []*Entry {
	base := steady(o, 12)
	change := func(i int, f func(e *Entry)) { f(base[i]) }
	change(0, func(e *Entry) { e.Number.Counter = o.first.Counter + 5 })
	change(1, func(e *Entry) { e.Number.Counter = 1 }) // committed late
	change(2, func(e *Entry) { e.Producer = math.MinInt64 })
	change(3, func(e *Entry) { e.Producer = math.MaxInt64 })
	change(4, func(e *Entry) { e.Server = 0; e.Duration = math.MaxInt64 })
	change(5, func(e *Entry) { e.Duration = 0; e.Runs = nil })
	change(6, func(e *Entry) { e.Dependent = true })
	change(7, func(e *Entry) { e.Discontinuity = true; e.Runs = e.Runs[1:] })
	change(8, func(e *Entry) { e.Runs[0].DecodeTime = math.MinInt64; e.Runs[1].DecodeTime = math.MaxInt64 })
	change(9, func(e *Entry) { e.Runs[0].Duration = math.MaxInt64; e.Runs[0].Samples = math.MaxInt32 })
	change(10, func(e *Entry) { e.Runs[0].Size = 0; e.Size += 77; e.Number.Counter = math.MaxUint64 })
	change(11, func(e *Entry) { e.Offset, e.Size, e.Runs = 0, 0, nil; e.CRC = math.MaxUint32 })
	return base
}

// TestEntryCodec writes entries in each of the places where they stand and reads
// them back.
func TestEntryCodec(t *testing.T) {
	o := testObject(testCreated, testVideo(), testAudio())
	lists := map[string][]*Entry{"none": {}, "one": steady(o, 1), "steady": steady(o, 30), "odd": odd(o)}
	for name, entries := range lists {
		t.Run(name, func(t *testing.T) {
			s, err := decodeIndex(appendIndex(nil, "cam", o, entries))
			if err != nil || s.name != "cam" || !reflect.DeepEqual(s.id, o) || !reflect.DeepEqual(s.entries, entries) {
				t.Fatalf("index box: %v\n%+v", err, s)
			}
			sorted := append([]*Entry{}, entries...)
			sortEntries(sorted)
			b, err := decodeBlock(encodeBlock("cam", o.created, o.hour, []blockObject{{id: o, entries: entries}}))
			if err != nil || b.hour != o.hour || len(b.entries) != len(entries) || len(entries) > 0 && !reflect.DeepEqual(b.entries, sorted) {
				t.Fatalf("hour block: %v\n%+v", err, b)
			}
			var p prediction
			for _, e := range entries {
				ref := appendReference(nil, o)
				got, err := decodeFragmentFrame(o, &p, appendFragmentFrame(nil, o, &p, e)[len(ref):])
				if err != nil || !reflect.DeepEqual(got, e) {
					t.Fatalf("journal frame: %v\n%+v\nwant\n%+v", err, got, e)
				}
			}
		})
	}
}

// TestEntrySize holds what the comment in codec.go promises.
func TestEntrySize(t *testing.T) {
	o := testObject(testCreated, testVideo(), testAudio())
	entries := steady(o, 1800)
	block := len(encodeBlock("cam", o.created, o.hour, []blockObject{{id: o, entries: entries}})) / len(entries)
	var p prediction
	alone := len(appendFragmentFrame(nil, o, &p, entries[20]))
	t.Logf("%d bytes in a block, %d in a frame", block, alone)
	if block > 44 || alone > 70 {
		t.Fatalf("an entry takes %d bytes in a block and %d in a frame", block, alone)
	}
}

func TestTrackCodec(t *testing.T) {
	for _, track := range []*fragments.Track{
		testVideo(), testAudio(),
		{ID: 1, Codec: fragments.Opaque, CodecID: "V_THEORA", TimeScale: 1000, Params: [][]byte{{}, {1, 2}}},
		{ID: 1 << 30, Codec: fragments.LPCM, TimeScale: MaxTimeScale, SampleRate: 192000, Channels: 8, BitDepth: 24, Reorder: 16},
	} {
		got, err := decodeTrack(appendTrack(nil, track))
		if err != nil || got.Hash() != track.Hash() || got.Reorder != track.Reorder {
			t.Errorf("%+v: %v\n%+v", track, err, got)
		}
	}
}

// TestTicks: a base is rounded so that the first sample's ticks come back, and
// no other track's sample lies before it.
func TestTicks(t *testing.T) {
	for _, scale := range []uint32{1, 8000, 44100, 48000, 90000, 1_000_000, MaxTimeScale} {
		for _, ticks := range []int64{0, 1, -1, 2, 3, 89_999, -90_001, 1 << 40, -(1 << 40), 123_456_789_123} {
			d, ok := timeOf(ticks, scale)
			if !ok {
				if int64(maxBase/time.Second) > max(ticks, -ticks)/int64(scale)+1 {
					t.Errorf("%d ticks of 1/%d are out of range", ticks, scale)
				}
				continue
			}
			if got := Ticks(d, scale); got != ticks {
				t.Errorf("%d ticks of 1/%d are %d, which are %d ticks", ticks, scale, d, got)
			}
		}
	}
	// 1/3 s is 29,999.99 ticks of 90 kHz when cut to nanoseconds.
	d, _ := timeOf(1, 3)
	if a, b := Ticks(d, 90000), Ticks(d, 48000); a != 30000 || b != 16000 {
		t.Errorf("a third of a second is %d and %d ticks", a, b)
	}
	if _, ok := timeOf(math.MaxInt64, 1); ok {
		t.Error("300 billion years are in range")
	}
}

func TestKeys(t *testing.T) {
	long := fragments.StreamName(make([]byte, 0, 256))
	for range 256 {
		long += "x"
	}
	n := fragments.Number{Epoch: 12, Counter: 345}
	h := hourOf(fragments.ServerTime(testCreated))
	for _, name := range []fragments.StreamName{"a", "front_door.2-b", long} {
		dir := streamDir(name, testCreated)
		if len(dir) > 255 {
			t.Errorf("folder of %d bytes", len(dir))
		}
		if got := parseKey(objectKey(dir, h, n)); got != (parsedKey{kind: keyObject, dir: dir, hour: h, first: n}) {
			t.Errorf("object key %q: %+v", objectKey(dir, h, n), got)
		}
		if got := parseKey(blockKey(dir, h)); got != (parsedKey{kind: keyBlock, dir: dir, hour: h}) {
			t.Errorf("block key %q: %+v", blockKey(dir, h), got)
		}
		if got := parseKey(settingsKey(dir)); got != (parsedKey{kind: keySettings, dir: dir}) {
			t.Errorf("settings key %q: %+v", settingsKey(dir), got)
		}
	}
	for _, key := range []string{
		"", "video", "video/", "video/cam@1", "video/cam/stream.json", "video/cam@x/stream.json", "video/cam@01/stream.json", "audio/cam@1/stream.json",
		"video/cam@1/2026/11/23/16/1-1.mp4", "video/cam@1/2026/11/23/00000000000000001-00000000000000000001.mp4", "video/cam@1/2026/11/23/24/00000000000000001-00000000000000000001.mp4",
		"video/cam@1/index/2026/11/23/16", "video/cam@1/index/2026/1/23/16.idx", "video/a b@1/stream.json",
	} {
		if got := parseKey(key); got != (parsedKey{}) {
			t.Errorf("%q was understood as %+v", key, got)
		}
	}
	if hourOf(-1) != -1 || hourOf(0) != 0 {
		t.Error("hours before 1970")
	}
}

// FuzzEntries feeds outside bytes to every decoder of entries: they must refuse
// them or read something that reads the same once it has been written again.
func FuzzEntries(f *testing.F) {
	o := testObject(testCreated, testVideo(), testAudio())
	f.Add(appendIndex(nil, "cam", o, steady(o, 3)))
	f.Add(appendIndex(nil, "cam", o, odd(o)))
	f.Add(encodeBlock("cam", o.created, o.hour, []blockObject{{id: o, entries: steady(o, 3)}}))
	f.Add(appendRestated(nil, "cam", o, odd(o)))
	f.Fuzz(func(t *testing.T, b []byte) {
		// With right checksums and lengths too, for they are no defence.
		for _, box := range [][]byte{b, asIndexBox(b)} {
			s, err := decodeIndex(box)
			if err != nil {
				continue
			}
			again, err := decodeIndex(appendIndex(nil, s.name, s.id, s.entries))
			if err != nil || !reflect.DeepEqual(again, s) {
				t.Fatalf("index box: %v\n%+v\n%+v", err, s, again)
			}
		}
		d := decoder{b: b}
		if h := d.head(); d.err == nil {
			if o := d.object(h); d.err == nil {
				entries := d.entries(o)
				if err := d.done(); err == nil && !uniqueTracks(o) {
					return
				} else if err == nil {
					s, err := decodeIndex(appendIndex(nil, h.name, o, entries))
					if err != nil || !reflect.DeepEqual(s.entries, entries) {
						t.Fatalf("restated: %v\n%+v\n%+v", err, entries, s)
					}
				}
			}
		}
		if len(b) >= checkedHeader {
			data := append([]byte(blockMagic), check(append([]byte{}, b...))...)
			if blk, err := decodeBlock(data); err == nil && len(blk.entries) > maxEntries {
				t.Fatal("a block without bound")
			}
			decodeHeader(data[len(blockMagic):])
		}
		decodeTrack(b)
		decodeSummary(0, b)
	})
}

// asIndexBox makes an index box of a payload.
func asIndexBox(payload []byte) []byte {
	b := append([]byte{codecVersion}, payload...)
	b = binary.BigEndian.AppendUint32(b, uint32(uuidBoxHeader+len(b)+tailSize))
	b = cmaf.AppendUUIDBox(nil, indexUUID, append(append(b, 0, 0, 0, 0), tailMagic...))
	at := len(b) - len(tailMagic) - 4
	binary.BigEndian.PutUint32(b[at:], checksum(b[:at]))
	return b
}

// FuzzScan feeds outside bytes to the walk over a segment: every entry it
// returns must lie in the file.
func FuzzScan(f *testing.F) {
	o := testObject(testCreated, testVideo(), testAudio())
	file := testSegment(f, o, 2)
	f.Add(file)
	f.Add(file[:len(file)-20])
	f.Add(file[:300])
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := scanSegment(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		if s.end > int64(len(b)) || s.fault == nil && s.closed == nil && s.end != int64(len(b)) {
			t.Fatalf("ends at %d of %d without a fault", s.end, len(b))
		}
		for _, e := range s.entries {
			if e.Offset < s.body || e.Offset+e.Size > s.end {
				t.Fatalf("fragment at %d, %d bytes, outside the file", e.Offset, e.Size)
			}
		}
		readIndex(bytes.NewReader(b), int64(len(b)))
	})
}

// testSegment makes a whole segment object of n small fragments.
func testSegment(t testing.TB, o *objectID, n int) []byte {
	t.Helper()
	file, err := appendSegmentHeader(nil, "cam", o)
	if err != nil {
		t.Fatal(err)
	}
	g := newSynthetic(o.created, o.created.Add(o.base))
	g.frames, g.frameSize = 2, 20
	var w writing
	var entries []*Entry
	for i := range n {
		f := g.next(fragments.Number{Epoch: o.first.Epoch, Counter: o.first.Counter + uint64(i)})
		e := &Entry{Number: f.Number, Producer: f.Producer, Server: f.Server, Duration: f.Duration, Object: o.key, Base: o.base}
		for j, r := range f.Runs {
			tr := o.tracks[j]
			e.Runs = append(e.Runs, EntryRun{
				Track: tr.ID, Config: tr.hash, Kind: tr.Kind(), TimeScale: tr.TimeScale,
				DecodeTime: r.DecodeTime, Duration: r.Duration, Samples: r.Samples,
			})
		}
		out, err := w.encode(o, e, f, int64(len(file)))
		if err != nil {
			t.Fatal(err)
		}
		file = append(file, out...)
		entries = append(entries, e)
	}
	return appendIndex(file, "cam", o, entries)
}

// TestSegment writes a segment and reads it back from both ends, and with every
// byte changed or the file cut anywhere: what is damaged is never taken for
// good.
func TestSegment(t *testing.T) {
	o := testObject(testCreated, testVideo(), testAudio())
	file := testSegment(t, o, 3)
	size := int64(len(file))
	whole, err := scanSegment(bytes.NewReader(file), size)
	if err != nil || whole.fault != nil || whole.closed == nil || len(whole.entries) != 3 {
		t.Fatalf("%v\n%+v", err, whole)
	}
	indexed, err := readIndex(bytes.NewReader(file), size)
	if err != nil || !reflect.DeepEqual(*indexed, whole.segment) {
		t.Fatalf("%v\n%+v\n%+v", err, indexed, whole.segment)
	}
	if _, err := verifySegment(file, o.key); err != nil {
		t.Fatal(err)
	}
	for i := range file {
		file[i] ^= 0x10
		if _, err := verifySegment(file, o.key); err == nil && int64(i) >= whole.body {
			t.Fatalf("byte %d of %d may change unseen", i, size)
		}
		file[i] ^= 0x10
	}
	for i := range file {
		s, err := scanSegment(bytes.NewReader(file[:i]), int64(i))
		if err != nil && int64(i) >= whole.body {
			t.Fatalf("cut at %d: %v", i, err)
		}
		if err == nil && (s.closed != nil || len(s.entries) != sort.Search(3, func(n int) bool { return whole.entries[n].Offset+whole.entries[n].Size > int64(i) })) {
			t.Fatalf("cut at %d: %d fragments", i, len(s.entries))
		}
	}
}

// uniqueTracks reports whether no track stands twice in the object, which what
// this package writes never has.
func uniqueTracks(o *objectID) bool {
	seen := map[fragments.ConfigHash]bool{}
	for _, t := range o.tracks {
		if seen[t.hash] {
			return false
		}
		seen[t.hash] = true
	}
	return true
}
