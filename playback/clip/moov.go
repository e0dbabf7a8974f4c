package clip

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
)

// Layout of the head (ISO/IEC 14496-12):
//
//	ftyp
//	moov  mvhd
//	      trak  tkhd                                one for each track
//	            edts  elst
//	            mdia  mdhd  hdlr
//	                  minf  vmhd or smhd
//	                        dinf  dref  url
//	                        stbl  stsd  stts  ctts  stss  stsc  stsz  stco or co64
//	mdat  (header; the media follows, fragment by fragment, video before audio)

// movieScale is the time scale of edit lists and durations of the movie.
const movieScale = 90000

const matrix = "\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00" +
	"\x00\x00\x00\x00\x00\x00\x00\x00\x40\x00\x00\x00"

// boxes appends boxes to a buffer.
type boxes struct {
	b     []byte
	large bool  // chunk offsets have 64 bits
	chunk []int // where tables of chunk offsets stand, and how many there are
}

// head writes everything before the media.
func (b *builder) head(media int64) []byte {
	estimate := 4096
	for _, t := range b.tracks {
		estimate += 2048 + 4*len(t.sizes) + 8*(len(t.deltas)+len(t.offsets)+int(t.chunks)) + 4*len(t.syncs) + 12*len(t.shapes)
	}
	w := &boxes{b: make([]byte, 0, estimate), large: int64(estimate)+media > math.MaxUint32}
	w.box("ftyp", func() { w.b = append(w.b, "isom\x00\x00\x02\x00isomiso2avc1mp41"...) })
	w.box("moov", func() {
		length := int64(0)
		for _, t := range b.tracks {
			e := b.edit(t)
			length = max(length, rescale(e.wait+e.length, t.scale, movieScale))
		}
		w.movieHeader(length, len(b.tracks)+1)
		for _, t := range b.tracks {
			b.trak(w, t)
		}
	})
	if w.large {
		w.u32(1)
		w.b = append(w.b, "mdat"...)
		w.u64(uint64(16 + media))
	} else {
		w.u32(uint32(8 + media))
		w.b = append(w.b, "mdat"...)
	}
	w.moveChunks(int64(len(w.b)))
	return w.b
}

func (w *boxes) u16(v uint16) { w.b = binary.BigEndian.AppendUint16(w.b, v) }
func (w *boxes) u32(v uint32) { w.b = binary.BigEndian.AppendUint32(w.b, v) }
func (w *boxes) u64(v uint64) { w.b = binary.BigEndian.AppendUint64(w.b, v) }

func (w *boxes) zero(n int) { w.b = append(w.b, make([]byte, n)...) }

func (w *boxes) box(typ string, body func()) {
	at := len(w.b)
	w.u32(0)
	w.b = append(w.b, typ...)
	body()
	binary.BigEndian.PutUint32(w.b[at:], uint32(len(w.b)-at))
}

// full writes a box with version and flags.
func (w *boxes) full(typ string, version uint8, flags uint32, body func()) {
	w.box(typ, func() {
		w.u32(uint32(version)<<24 | flags)
		body()
	})
}

// times writes a number of 32 bits, or of 64 in version 1.
func (w *boxes) times(version uint8, v int64) {
	if version == 1 {
		w.u64(uint64(v))
	} else {
		w.u32(uint32(v))
	}
}

// versionFor returns the version of a box that holds v.
func versionFor(v int64) uint8 {
	if v > math.MaxInt32 {
		return 1
	}
	return 0
}

func (w *boxes) movieHeader(length int64, nextTrack int) {
	v := versionFor(length)
	w.full("mvhd", v, 0, func() {
		w.times(v, 0) // created, modified: not told
		w.times(v, 0)
		w.u32(movieScale)
		w.times(v, length)
		w.b = append(w.b, "\x00\x01\x00\x00\x01\x00"...) // rate, volume
		w.zero(10)
		w.b = append(w.b, matrix...)
		w.zero(24)
		w.u32(uint32(nextTrack))
	})
}

func (b *builder) trak(w *boxes, t *track) {
	e := b.edit(t)
	wait, length := rescale(e.wait, t.scale, movieScale), rescale(e.wait+e.length, t.scale, movieScale)
	w.box("trak", func() {
		w.trackHeader(t, length)
		w.box("edts", func() { w.edits(wait, length-wait, e.at) })
		w.box("mdia", func() {
			w.mediaHeader(t)
			w.box("minf", func() {
				if t.kind == fragments.KindVideo {
					w.full("vmhd", 0, 1, func() { w.zero(8) })
				} else {
					w.full("smhd", 0, 0, func() { w.zero(4) })
				}
				w.b = append(w.b, "\x00\x00\x00\x24dinf\x00\x00\x00\x1cdref\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x0curl \x00\x00\x00\x01"...)
				w.box("stbl", func() { b.sampleTables(w, t) })
			})
		})
	})
}

func (w *boxes) trackHeader(t *track, length int64) {
	v := versionFor(length)
	w.full("tkhd", v, 3, func() { // enabled, in the movie
		w.times(v, 0)
		w.times(v, 0)
		w.u32(uint32(t.id))
		w.zero(4)
		w.times(v, length)
		w.zero(12) // reserved, layer, alternate group
		if t.kind == fragments.KindAudio {
			w.u16(0x100) // volume
		} else {
			w.u16(0)
		}
		w.zero(2)
		w.b = append(w.b, matrix...)
		w.u32(uint32(min(t.width, math.MaxUint16)) << 16)
		w.u32(uint32(min(t.height, math.MaxUint16)) << 16)
	})
}

// edits writes the edit list: a wait, where there is one, and then the media
// from at on.
func (w *boxes) edits(wait, length, at int64) {
	v := versionFor(max(wait, length, at))
	w.full("elst", v, 0, func() {
		n := uint32(1)
		if wait > 0 {
			n = 2
		}
		w.u32(n)
		if wait > 0 {
			w.times(v, wait)
			w.times(v, -1)
			w.u32(1 << 16) // rate 1
		}
		w.times(v, length)
		w.times(v, at)
		w.u32(1 << 16)
	})
}

func (w *boxes) mediaHeader(t *track) {
	v := versionFor(t.duration())
	w.full("mdhd", v, 0, func() {
		w.times(v, 0)
		w.times(v, 0)
		w.u32(t.scale)
		w.times(v, t.duration())
		w.b = append(w.b, "\x55\xc4\x00\x00"...) // language "und"
	})
	w.full("hdlr", 0, 0, func() {
		w.zero(4)
		if t.kind == fragments.KindVideo {
			w.b = append(w.b, "vide"...)
		} else {
			w.b = append(w.b, "soun"...)
		}
		w.zero(12)
		w.b = append(w.b, t.kind.String()+"\x00"...)
	})
}

func (b *builder) sampleTables(w *boxes, t *track) {
	w.full("stsd", 0, 0, func() {
		w.u32(uint32(len(t.entries)))
		for _, e := range t.entries {
			w.b = append(w.b, e...)
		}
	})
	w.table("stts", t.deltas)
	if len(t.offsets) > 1 || len(t.offsets) == 1 && t.offsets[0].value != 0 {
		w.table("ctts", t.offsets)
	}
	if len(t.syncs) < len(t.sizes) {
		w.full("stss", 0, 0, func() { w.list(t.syncs) })
	}
	w.full("stsc", 0, 0, func() {
		w.u32(uint32(len(t.shapes)))
		for _, s := range t.shapes {
			w.u32(s.first)
			w.u32(s.samples)
			w.u32(s.description)
		}
	})
	w.full("stsz", 0, 0, func() {
		w.u32(0) // each has its own
		w.list(t.sizes)
	})
	typ := "stco"
	if w.large {
		typ = "co64"
	}
	w.full(typ, 0, 0, func() {
		w.u32(t.chunks)
		w.chunk = append(w.chunk, len(w.b), int(t.chunks))
		for i := range b.chunks {
			if b.chunks[i].track != t {
				continue
			}
			if w.large {
				w.u64(uint64(b.chunks[i].at))
			} else {
				w.u32(uint32(b.chunks[i].at))
			}
		}
	})
}

func (w *boxes) table(typ string, entries []entry) {
	w.full(typ, 0, 0, func() {
		w.u32(uint32(len(entries)))
		for _, e := range entries {
			w.u32(e.count)
			w.u32(e.value)
		}
	})
}

func (w *boxes) list(values []uint32) {
	w.u32(uint32(len(values)))
	for _, v := range values {
		w.u32(v)
	}
}

// moveChunks adds where the media begins to all chunk offsets.
func (w *boxes) moveChunks(by int64) {
	for i := 0; i < len(w.chunk); i += 2 {
		at := w.b[w.chunk[i]:]
		for range w.chunk[i+1] {
			if w.large {
				binary.BigEndian.PutUint64(at, binary.BigEndian.Uint64(at)+uint64(by))
				at = at[8:]
			} else {
				binary.BigEndian.PutUint32(at, binary.BigEndian.Uint32(at)+uint32(by))
				at = at[4:]
			}
		}
	}
}

// sampleEntry returns the sample entry of a configuration: that of its
// initialisation segment, or for linear PCM the one of QuickTime, which more
// players know.
func sampleEntry(t *fragments.Track) ([]byte, error) {
	if e := quickTimePCM(t); e != nil {
		return e, nil
	}
	init, err := cmaf.InitSegment(t)
	if err != nil {
		return nil, err
	}
	at, end := int64(0), int64(len(init))
	r := bytes.NewReader(init)
	for _, typ := range [...]string{"moov", "trak", "mdia", "minf", "stbl", "stsd"} {
		found := false
		for h, err := range cmaf.Boxes(r, at, end) {
			if err != nil {
				return nil, err
			}
			if h.Type == typ {
				at, end, found = h.Payload(), h.End(), true
				break
			}
		}
		if !found {
			return nil, fmt.Errorf("initialisation segment without %s", typ)
		}
	}
	return init[at+8 : end], nil // after version, flags and count
}

// quickTimePCM returns the sample entry of linear PCM, big endian (QuickTime
// File Format, sound sample descriptions), nil for anything else.
func quickTimePCM(t *fragments.Track) []byte {
	typ := map[int]string{8: "twos", 16: "twos", 24: "in24"}[t.BitDepth]
	if t.Codec != fragments.LPCM || typ == "" || t.SampleRate > math.MaxUint16 {
		return nil
	}
	w := &boxes{}
	w.box(typ, func() {
		w.b = append(w.b, "\x00\x00\x00\x00\x00\x00\x00\x01"...)
		w.zero(8)
		w.u16(uint16(t.Channels))
		w.u16(uint16(t.BitDepth))
		w.zero(4)
		w.u32(uint32(t.SampleRate) << 16)
	})
	return w.b
}
