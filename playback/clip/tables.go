package clip

import (
	"math"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
	"github.com/kineweir/kineweir/playback"
)

// track is one trak box being built. Its times are in ticks of scale since the
// creation of the stream.
type track struct {
	id     int // in the clip, from 1
	source int // in the stream
	codec  fragments.Codec
	kind   fragments.Kind
	scale  uint32
	width  int // the largest of its configurations
	height int

	descriptions []fragments.ConfigHash // in the order of the sample entries
	entries      [][]byte               // sample entries
	silence      silence                // in the configuration of the last chunk

	first, next int64 // decode times: of the first sample, and where the last one ends
	presented   int64 // presentation time of the first sample
	latest      int64 // where the presentation of the last one ends
	last        int64 // duration of the last sample, not yet in deltas

	deltas  []entry // stts
	offsets []entry // ctts
	sizes   []uint32
	syncs   []uint32 // numbers of the key frames
	chunks  uint32
	shapes  []shape // stsc
}

// entry is a run of equal values in a table.
type entry struct{ count, value uint32 }

// shape is a run of chunks alike, as stsc has it.
type shape struct{ first, samples, description uint32 }

// chunk is what the clip has of one run of a fragment: length bytes of its
// media from skip on.
type chunk struct {
	track        *track // while the clip is laid out
	number       fragments.Number
	source       int // track of the stream
	skip, length int64
	fill         []byte // repeated over and over: silence, of no fragment
	at           int64  // in the mdat while the clip is laid out, then in the file
}

// silence is that of a configuration, and the number of its sample entry.
type silence struct {
	playback.Silence
	description uint32
	known       bool // it can be written
}

// add appends a sample; at is its decode time. What lies between the end of the
// sample before and at belongs to that one: a frame is held until the next.
func (t *track) add(s *cmaf.Sample, at, duration int64, offset int64) {
	if len(t.sizes) == 0 {
		t.first, t.next, t.presented = at, at, at+offset
	} else {
		t.close(max(t.last+at-t.next, 0))
	}
	t.sizes = append(t.sizes, uint32(s.Size))
	if s.Key {
		t.syncs = append(t.syncs, uint32(len(t.sizes)))
	}
	t.offsets = put(t.offsets, uint32(max(offset, 0)))
	t.last = duration
	t.next += duration
	t.latest = max(t.latest, t.next+offset)
}

// close gives the last sample its duration. What a table cannot hold, more than
// 13 hours at 90 kHz, is left to the next sample.
func (t *track) close(duration int64) {
	duration = min(duration, math.MaxUint32)
	t.next += duration - t.last
	t.deltas = put(t.deltas, uint32(duration))
	t.last = 0
}

func put(table []entry, v uint32) []entry {
	if n := len(table); n > 0 && table[n-1].value == v && table[n-1].count < math.MaxUint32 {
		table[n-1].count++
		return table
	}
	return append(table, entry{1, v})
}

// endChunk notes that n samples were added as a chunk.
func (t *track) endChunk(n int, description uint32) {
	t.chunks++
	if k := len(t.shapes); k > 0 && t.shapes[k-1].samples == uint32(n) && t.shapes[k-1].description == description {
		return
	}
	t.shapes = append(t.shapes, shape{t.chunks, uint32(n), description})
}

// duration returns the ticks of all samples, as the media header has it.
func (t *track) duration() int64 { return t.next - t.first }

// ticks converts nanoseconds since the creation, which may be negative, to
// ticks, rounded down to the creation.
func ticks(ns int64, scale uint32) int64 {
	if ns < 0 {
		return -archive.Ticks(time.Duration(-ns), scale)
	}
	return archive.Ticks(time.Duration(ns), scale)
}

// nearest converts like ticks, but to the nearest tick.
func nearest(ns int64, scale uint32) int64 {
	return ticks(ns+int64(time.Second)/(2*int64(scale)), scale)
}

// nanos converts ticks to nanoseconds, rounded down.
func nanos(v int64, scale uint32) int64 {
	whole, rest := v/int64(scale), v%int64(scale)
	return whole*int64(time.Second) + rest*int64(time.Second)/int64(scale)
}
