package cmaf

import (
	"encoding/binary"
	"fmt"
	"math"
)

// ReorderDelay returns by how many ticks the first picture that is shown of a
// run of parts is shown after the first one is decoded. In a run that begins
// with a key frame that is the delay of the stream; in another it may be less.
// Without B-frames it is 0 and nothing is reordered.
func ReorderDelay(data []byte) (delay int64, reordered bool, err error) {
	first, shown := int64(-1), int64(math.MaxInt64)
	for p, err := range Parts(data) {
		if err != nil {
			return 0, false, err
		}
		at := p.DecodeTime
		if first < 0 {
			first = at
		}
		for i := range p.Samples {
			shown = min(shown, at+int64(p.Samples[i].Offset))
			reordered = reordered || p.Samples[i].Offset != 0
			at += int64(p.Samples[i].Duration)
		}
	}
	if first < 0 {
		return 0, false, nil
	}
	return max(shown-first, 0), reordered, nil
}

// Delay moves the decode times of all parts in data by delay ticks and leaves
// the presentation times where they are: composition offsets become smaller,
// and negative where a picture is shown before the decode time it then has
// (trun version 1). Players that take the decode time of a segment for the
// presentation time of its first picture are right after it. data is changed in
// place, or copied where a part has no room for offsets. The parts must have
// the layout of AppendPart; the error is a *FormatError.
func Delay(data []byte, delay int64) ([]byte, error) {
	if delay == 0 {
		return data, nil
	}
	grow, err := delayGrowth(data)
	if err != nil {
		return nil, err
	}
	out := data[:0]
	if grow > 0 {
		out = make([]byte, 0, len(data)+grow)
	}
	for at := 0; at < len(data); {
		h, ferr := parseBoxHeader(data[at:], int64(at), int64(len(data)))
		if ferr != nil {
			return nil, ferr
		}
		box := data[at:h.End()]
		at = int(h.End())
		if h.Type != "moof" {
			out = append(out, box...)
			continue
		}
		from := len(out)
		if hasOffsets(box) {
			out = append(out, box...)
		} else {
			out = appendWithOffsets(out, box)
		}
		if ferr := delayMoof(out[from:], at-len(box), delay); ferr != nil {
			return nil, ferr
		}
	}
	return out, nil
}

// delayGrowth checks the layout of every moof, and returns how many bytes the
// missing composition offsets take.
func delayGrowth(data []byte) (int, error) {
	grow := 0
	for at := 0; at < len(data); {
		h, ferr := parseBoxHeader(data[at:], int64(at), int64(len(data)))
		if ferr != nil {
			return 0, ferr
		}
		if h.Type == "moof" {
			moof := data[at:h.End()]
			if len(moof) < runAt || !hasPlainTfdt(moof) || !hasPlainRun(moof) {
				return 0, &FormatError{Offset: int64(at), Box: "moof", Reason: "is not of the layout that can be delayed"}
			}
			if !hasOffsets(moof) {
				grow += 4 * sampleCount(moof)
			}
		}
		at = int(h.End())
	}
	return grow, nil
}

func runFlags(moof []byte) uint32 { return binary.BigEndian.Uint32(moof[trunAt+8:]) &^ (0xff << 24) }

func sampleCount(moof []byte) int { return int(binary.BigEndian.Uint32(moof[trunAt+12:])) }

func hasOffsets(moof []byte) bool { return runFlags(moof)&trunCompOffsets != 0 }

// entrySize is how many bytes a sample takes in the trun.
func entrySize(flags uint32) int {
	n := 8
	if flags&trunFlags != 0 {
		n += 4
	}
	if flags&trunCompOffsets != 0 {
		n += 4
	}
	return n
}

// hasPlainRun reports whether the trun is as AppendPart writes it, and the last
// box of the moof.
func hasPlainRun(moof []byte) bool {
	const always = trunDataOffset | trunDurations | trunSizes
	flags := runFlags(moof)
	return string(moof[trunAt+4:trunAt+9]) == "trun\x01" && flags&^(trunFlags|trunCompOffsets) == always &&
		int64(len(moof)) == runAt+int64(entrySize(flags))*int64(binary.BigEndian.Uint32(moof[trunAt+12:]))
}

// appendWithOffsets appends moof with a composition offset of 0 for each sample.
func appendWithOffsets(dst, moof []byte) []byte {
	be := binary.BigEndian
	from, n, step := len(dst), sampleCount(moof), entrySize(runFlags(moof))
	dst = append(dst, moof[:runAt]...)
	for i := range n {
		dst = append(dst, moof[runAt+i*step:runAt+(i+1)*step]...)
		dst = append(dst, 0, 0, 0, 0)
	}
	head := dst[from:]
	for _, field := range [...]int{0, 24, trunAt, trunAt + 16} { // sizes, and the data offset
		be.PutUint32(head[field:], be.Uint32(head[field:])+uint32(4*n))
	}
	be.PutUint32(head[trunAt+8:], be.Uint32(head[trunAt+8:])|trunCompOffsets)
	return dst
}

// delayMoof delays a moof, which stood at offset at, in place.
func delayMoof(moof []byte, at int, delay int64) *FormatError {
	if ferr := shiftTfdt(moof[tfdtAt-4:tfdtAt+8], at+tfdtAt-12, delay); ferr != nil {
		return ferr
	}
	step := entrySize(runFlags(moof))
	for i := range sampleCount(moof) {
		b := moof[runAt+(i+1)*step-4:]
		offset := int64(int32(binary.BigEndian.Uint32(b))) - delay
		if offset < math.MinInt32 || offset > math.MaxInt32 {
			return &FormatError{Offset: int64(at + trunAt), Box: "trun", Reason: fmt.Sprintf("composition offset %d is out of range", offset)}
		}
		binary.BigEndian.PutUint32(b, uint32(int32(offset)))
	}
	return nil
}
