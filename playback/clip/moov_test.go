package clip

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
)

// box returns the payload of a box of data, down a path, and where it stands.
func box(t *testing.T, data []byte, path ...string) (payload []byte, at int64) {
	t.Helper()
	end := int64(len(data))
	for _, typ := range path {
		found := false
		for h, err := range cmaf.Boxes(bytes.NewReader(data), at, end) {
			if err != nil {
				t.Fatal(err)
			}
			if h.Type == typ {
				at, end, found = h.Payload(), h.End(), true
				break
			}
		}
		if !found {
			return nil, 0
		}
	}
	return data[at:end], at
}

// TestLargeClips lays out clips around 4 GiB: offsets and the mdat grow to 64
// bits when they must, and the first chunk stands right after the head.
func TestLargeClips(t *testing.T) {
	for _, c := range []struct {
		name   string
		chunks []int64
		large  bool
	}{
		{"small", []int64{1000, 2000}, false},
		{"just below 4 GiB", []int64{1 << 31, 1<<31 - 100_000}, false},
		{"just above", []int64{1 << 31, 1 << 31}, true},
		{"a day", []int64{40 << 30, 2 << 30, 1}, true},
	} {
		tr := &track{id: 1, kind: fragments.KindVideo, codec: fragments.H264, scale: 90000, entries: [][]byte{make([]byte, 16)}}
		b := &builder{tracks: []*track{tr}, end: 100e9}
		media := int64(0)
		for i, n := range c.chunks {
			s := cmaf.Sample{Size: 1000, Key: true}
			tr.add(&s, int64(i)*90000, 90000, 0)
			tr.endChunk(1, 1)
			b.chunks = append(b.chunks, chunk{track: tr, at: media, length: n})
			media += n
		}
		tr.close(tr.last)
		head := b.head(media)
		mdat := head[len(head)-8:]
		if c.large {
			mdat = head[len(head)-16:]
		}
		size := int64(binary.BigEndian.Uint32(mdat))
		if c.large {
			size = int64(binary.BigEndian.Uint64(mdat[8:]))
		}
		if string(mdat[4:8]) != "mdat" || size != int64(len(mdat))+media {
			t.Errorf("%s: mdat of %d bytes, want %d", c.name, size, int64(len(mdat))+media)
		}
		moov := head[:len(head)-len(mdat)]
		stco, _ := box(t, moov, "moov", "trak", "mdia", "minf", "stbl", "stco")
		co64, _ := box(t, moov, "moov", "trak", "mdia", "minf", "stbl", "co64")
		if (co64 != nil) != c.large || (stco != nil) == c.large {
			t.Fatalf("%s: stco %d bytes, co64 %d bytes", c.name, len(stco), len(co64))
		}
		want := int64(len(head))
		for i, n := range c.chunks {
			var at int64
			if c.large {
				at = int64(binary.BigEndian.Uint64(co64[8+8*i:]))
			} else {
				at = int64(binary.BigEndian.Uint32(stco[8+4*i:]))
			}
			if at != want {
				t.Errorf("%s: chunk %d at %d, want %d", c.name, i, at, want)
			}
			want += n
		}
	}
}

// TestLongClips looks at the durations of a clip of a week: they need 64 bits.
func TestLongClips(t *testing.T) {
	const week = 7 * 24 * 3600
	tr := &track{id: 1, kind: fragments.KindVideo, codec: fragments.H264, scale: 90000, entries: [][]byte{make([]byte, 16)}}
	b := &builder{tracks: []*track{tr}, end: week * 1e9}
	for i := range int64(week / 3600) {
		s := cmaf.Sample{Size: 1000, Key: true}
		tr.add(&s, i*3600*90000, 3600*90000, 0)
	}
	tr.close(tr.last)
	head := b.head(1)
	for _, c := range []struct {
		path []string
		at   int // of the duration in the box
	}{
		{[]string{"moov", "mvhd"}, 24},
		{[]string{"moov", "trak", "tkhd"}, 28},
		{[]string{"moov", "trak", "edts", "elst"}, 8},
		{[]string{"moov", "trak", "mdia", "mdhd"}, 24},
	} {
		p, _ := box(t, head[:len(head)-8], c.path...)
		if p == nil || p[0] != 1 || binary.BigEndian.Uint64(p[c.at:]) != week*90000 {
			t.Errorf("%v: % x", c.path, p)
		}
	}
}

// A break of more than 2^32 ticks does not fit one entry of a table: the next
// frame takes the rest over, and what follows is at its time again.
func TestVeryLongBreak(t *testing.T) {
	tr := &track{kind: fragments.KindVideo, scale: 90000}
	day := int64(24 * 3600 * 90000)
	for _, at := range []int64{0, 3600, day, day + 3600, day + 7200} {
		tr.add(&cmaf.Sample{Size: 1, Key: true}, at, 3600, 0)
	}
	tr.close(tr.last)
	total := int64(0)
	for _, e := range tr.deltas {
		total += int64(e.count) * int64(e.value)
	}
	if want := day + 3*3600; total != want || tr.duration() != want {
		t.Errorf("durations are %d, %d in all; want %d", total, tr.duration(), want)
	}
}
