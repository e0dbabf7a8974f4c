package cmaf_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"reflect"
	"testing"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
)

// TestPartsReadsBack reads every part that AppendPart is tested with.
func TestPartsReadsBack(t *testing.T) {
	for name, c := range partCases() {
		t.Run(name, func(t *testing.T) {
			track := &fragments.Track{ID: 9, Codec: c.codec, TimeScale: 90000}
			data := cmaf.AppendPrft(nil, 9, unixTime, 5)
			first := len(data)
			data = cmaf.AppendPart(data, track, 1, 100, c.samples)
			second := len(data)
			data = cmaf.AppendPart(data, track, 2, math.MaxInt64, c.samples)
			n := 0
			for p, err := range cmaf.Parts(data) {
				if err != nil {
					t.Fatal(err)
				}
				wantOffset, wantTime := first, int64(100)
				if n == 1 {
					wantOffset, wantTime = second, math.MaxInt64
				}
				if p.Offset != wantOffset || p.DecodeTime != wantTime || p.TrackID != 9 || p.Sequence != uint32(n+1) {
					t.Errorf("part %d: %+v", n, p)
				}
				checkSamples(t, data, p, track, c.samples)
				n++
			}
			if n != 2 {
				t.Errorf("%d parts, want 2", n)
			}
			head, err := cmaf.ReadPartHeader(data[first : first+moofSize(data[first:])])
			if err != nil {
				t.Fatal(err)
			}
			if head.Size != second-first || head.DecodeTime != 100 || len(head.Samples) != len(c.samples) {
				t.Errorf("header alone: %+v, want size %d", head, second-first)
			}
			for i, s := range head.Samples {
				if s.Data != nil || s.Size != cap(s.Data)+s.Size || s.Key != c.samples[i].Key {
					t.Errorf("header alone: sample %d is %+v", i, s)
				}
			}
		})
	}
}

func moofSize(b []byte) int { return int(b[2])<<8 | int(b[3]) }

func checkSamples(t *testing.T, data []byte, p cmaf.Part, track *fragments.Track, want []fragments.Sample) {
	t.Helper()
	if len(p.Samples) != len(want) {
		t.Fatalf("%d samples, want %d", len(p.Samples), len(want))
	}
	duration := int64(0)
	end := p.Offset + p.Moof + 8
	for i, s := range p.Samples {
		w := want[i]
		if s.Duration != w.Duration || s.Offset != int32(w.Offset) || s.Key != w.Key || s.Size != len(s.Data) || p.Offset+s.At != end {
			t.Errorf("sample %d: %+v, want %+v", i, s, w)
		}
		alone := cmaf.AppendPart(nil, track, 0, 0, want[i:i+1])
		if !bytes.HasSuffix(alone, s.Data) || len(s.Data) == 0 || &s.Data[0] != &data[end] {
			t.Errorf("sample %d: data are not those of the part", i)
		}
		end += s.Size
		duration += int64(w.Duration)
	}
	if end != p.Offset+p.Size || p.Duration != duration {
		t.Errorf("part ends at %d after %d ticks, want %d after %d", end, p.Duration, p.Offset+p.Size, duration)
	}
}

func TestRebase(t *testing.T) {
	track := &fragments.Track{ID: 2, Codec: fragments.H264, TimeScale: 90000}
	build := func(base int64) []byte {
		data := cmaf.AppendUUIDBox(nil, [16]byte{1}, []byte("payload with moof and tfdt in it"))
		for i := range 3 {
			data = cmaf.AppendPart(data, track, uint32(i), base+int64(i)*18000, benchSamples(5, 100))
		}
		return append(data, foreignPart(uint64(base))...)
	}
	for _, delta := range []int64{0, 1, -1000, 1 << 40, -(1 << 40)} {
		data, want := build(1<<41), build(1<<41+delta)
		if err := cmaf.Rebase(data, delta); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(data, want) {
			t.Errorf("delta %d: not the parts at the new time", delta)
		}
	}
	data := build(1 << 41)
	if n := testing.AllocsPerRun(10, func() {
		if cmaf.Rebase(data, 1) != nil {
			t.Error("rebase failed")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// foreignPart is a part in another layout: traf boxes in another order, with a
// box more.
func foreignPart(decodeTime uint64) []byte {
	part := cmaf.AppendPart(nil, &fragments.Track{ID: 1, Codec: fragments.Opus}, 1, int64(decodeTime), benchSamples(1, 3))
	b := bytes.Clone(part[:48])
	b = append(b, "\x00\x00\x00\x0cfreeABCD"...)
	b = append(b, part[48:]...)
	b[3] += 12
	b[24+3] += 12
	return b
}

func TestRebaseErrors(t *testing.T) {
	track := &fragments.Track{ID: 2, Codec: fragments.H264, TimeScale: 90000}
	good := cmaf.AppendPart(nil, track, 1, 1000, benchSamples(2, 10))
	for name, c := range map[string]struct {
		data   []byte
		delta  int64
		offset int64
		torn   bool
	}{
		"before zero":      {good, -1001, 48, false},
		"beyond 63 bits":   {good, math.MaxInt64, 48, false},
		"foreign, too":     {foreignPart(5), -6, 60, false},
		"cut":              {good[:len(good)-1], 1, int64(moofSize(good)), true},
		"cut within moof":  {good[:70], 1, 0, true},
		"cut second moof":  {append(bytes.Clone(good), good[:70]...), 1, int64(len(good)), true},
		"cut after second": {append(bytes.Clone(good), 0, 0, 0), 1, int64(len(good)), true},
		"size less than 8": {[]byte("\x00\x00\x00\x07moofffff"), 1, 0, false},
		"tfdt version 2":   {bytes.Replace(good, []byte("tfdt\x01"), []byte("tfdt\x02"), 1), 1, 48, false},
	} {
		err := cmaf.Rebase(bytes.Clone(c.data), c.delta)
		var ferr *cmaf.FormatError
		if !errors.As(err, &ferr) || ferr.Offset != c.offset || ferr.Torn != c.torn || errors.Is(err, io.ErrUnexpectedEOF) != c.torn {
			t.Errorf("%s: got %v, want offset %d, torn %v", name, err, c.offset, c.torn)
		}
	}
}

func TestPartsErrors(t *testing.T) {
	track := &fragments.Track{ID: 2, Codec: fragments.Opus, TimeScale: 48000}
	good := cmaf.AppendPart(nil, track, 1, 1000, benchSamples(2, 10)) // trun at 68, 12-byte entries from 88
	with := func(at int, b ...byte) []byte {
		d := bytes.Clone(good)
		copy(d[at:], b)
		return d
	}
	for name, c := range map[string]struct {
		data   []byte
		offset int64
		box    string
		torn   bool
	}{
		"empty moof":               {[]byte("\x00\x00\x00\x08moof"), 0, "moof", false},
		"no mdat":                  {good[:moofSize(good)], int64(moofSize(good)), "", true},
		"mdat first":               {good[moofSize(good):], 0, "mdat", false},
		"cut mdat":                 {good[:len(good)-1], int64(moofSize(good)), "mdat", true},
		"4 billion samples":        {with(80, 0xff, 0xff, 0xff, 0xff), 68, "trun", false},
		"one sample too many":      {with(80, 0, 0, 0, 3), 68, "trun", false},
		"sample beyond mdat":       {with(92, 0, 0, 0, 99), 0, "trun", false},
		"sample of 4 GiB":          {with(92, 0xff, 0xff, 0xff, 0xff), 0, "trun", false},
		"data in moof":             {with(84, 0, 0, 0, 9), 0, "trun", false},
		"data before moof":         {with(84, 0xff), 68, "trun", false},
		"track 0":                  {with(44, 0, 0, 0, 0), 32, "tfhd", false},
		"base data offset":         {with(40, 0, 0, 0, 1), 32, "tfhd", false},
		"negative decode time":     {with(60, 0xff), 48, "tfdt", false},
		"tfdt sticks out":          {with(48, 0x7f), 48, "tfdt", false},
		"traf sticks out":          {with(24, 0x7f), 24, "traf", false},
		"no tfdt":                  {with(52, 'f', 'r', 'e', 'e'), 24, "traf", false},
		"two tfdt":                 {with(72, 't', 'f', 'd', 't'), 68, "tfdt", false},
		"no traf":                  {with(28, 'f', 'r', 'e', 'e'), 0, "moof", false},
		"no mfhd":                  {with(12, 'f', 'r', 'e', 'e'), 0, "moof", false},
		"not mdat but free":        {with(moofSize(good)+4, 'f', 'r', 'e', 'e'), int64(moofSize(good)), "free", false},
		"defaults without entries": {with(76, 1, 0, 0, 1, 0, 0, 0x10, 1), 68, "trun", false},
	} {
		var err error
		for _, err = range cmaf.Parts(c.data) {
		}
		var ferr *cmaf.FormatError
		if !errors.As(err, &ferr) {
			t.Errorf("%s: got %v, want a FormatError", name, err)
			continue
		}
		if ferr.Offset != c.offset || ferr.Box != c.box || ferr.Torn != c.torn {
			t.Errorf("%s: got %v (torn %v), want box %q at %d (torn %v)", name, err, ferr.Torn, c.box, c.offset, c.torn)
		}
	}
	// Offsets count from the bytes that were given, not from the part.
	err := error(nil)
	for _, err = range cmaf.Parts(append(bytes.Clone(good), with(44, 0, 0, 0, 0)...)) {
	}
	var ferr *cmaf.FormatError
	if !errors.As(err, &ferr) || ferr.Offset != int64(len(good)+32) {
		t.Errorf("second part: got %v, want offset %d", err, len(good)+32)
	}
}

func FuzzParts(f *testing.F) {
	for _, c := range partCases() {
		track := &fragments.Track{ID: 9, Codec: c.codec, TimeScale: 90000}
		if part := cmaf.AppendPart(nil, track, 1, 100, c.samples); len(part) < 2000 {
			f.Add(part)
		}
	}
	f.Add(foreignPart(7))
	f.Fuzz(func(t *testing.T, data []byte) {
		parts := readParts(t, data)
		// What Rebase accepts it accepts back, and Parts sees it shifted.
		moved := bytes.Clone(data)
		if cmaf.Rebase(moved, 1) != nil {
			return
		}
		for i, p := range readParts(t, moved) {
			if p.DecodeTime != parts[i].DecodeTime+1 {
				t.Fatalf("part %d at %d, was at %d before it was moved by 1", i, p.DecodeTime, parts[i].DecodeTime)
			}
		}
		if err := cmaf.Rebase(moved, -1); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(moved, data) {
			t.Fatal("moved to and fro, not the same")
		}
	})
}

// readParts reads what Parts gives before its first error, and checks that
// samples lie within their part.
func readParts(t *testing.T, data []byte) []cmaf.Part {
	var parts []cmaf.Part
	for p, err := range cmaf.Parts(data) {
		if err != nil {
			var ferr *cmaf.FormatError
			if !errors.As(err, &ferr) || ferr.Offset < 0 || ferr.Offset > int64(len(data)) {
				t.Fatalf("error %v", err)
			}
			break
		}
		whole := data[p.Offset : p.Offset+p.Size]
		for _, s := range p.Samples {
			if !reflect.DeepEqual(s.Data, whole[s.At:s.At+s.Size]) {
				t.Fatalf("sample %+v outside its part", s)
			}
		}
		head, err := cmaf.ReadPartHeader(whole[:p.Moof])
		if err != nil || head.Duration != p.Duration || len(head.Samples) != len(p.Samples) {
			t.Fatalf("header alone: %+v, %v", head, err)
		}
		parts = append(parts, p)
	}
	return parts
}

func BenchmarkParts(b *testing.B) {
	track := &fragments.Track{ID: 1, Codec: fragments.H264, TimeScale: 90000}
	var data []byte
	for i := range 10 {
		data = cmaf.AppendPart(data, track, uint32(i), 0, benchSamples(5, 10_000))
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, err := range cmaf.Parts(data) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkRebase(b *testing.B) {
	track := &fragments.Track{ID: 1, Codec: fragments.H264, TimeScale: 90000}
	var data []byte
	for i := range 10 {
		data = cmaf.AppendPart(data, track, uint32(i), 0, benchSamples(5, 10_000))
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := cmaf.Rebase(data, 1); err != nil {
			b.Fatal(err)
		}
	}
}
