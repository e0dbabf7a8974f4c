package cmaf

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"
)

// Part is one moof and its mdat as they were read.
type Part struct {
	TrackID    int
	Sequence   uint32
	DecodeTime int64 // ticks, as stored
	Duration   int64 // ticks, of all samples
	// Offset is that of the moof in the bytes that were given; Moof and Size are
	// the bytes of the moof, and of the moof and the mdat.
	Offset, Moof, Size int
	Samples            []Sample
}

// Sample is one sample of a Part.
type Sample struct {
	Duration uint32 // ticks
	Offset   int32  // composition offset, ticks; never negative in what AppendPart writes
	Key      bool
	At       int // of its data, counted from the first byte of the moof
	Size     int // bytes
	// Data is a part of the bytes that were given, not a copy; nil from
	// ReadPartHeader.
	Data []byte
}

// Parts walks the parts in data, moof and mdat pairs of a single track each.
// Other boxes between them (prft, uuid, the initialisation segment) are passed
// over. After an error, which is a *FormatError, it stops.
func Parts(data []byte) iter.Seq2[Part, error] {
	return func(yield func(Part, error) bool) {
		for at := 0; at < len(data); {
			h, ferr := parseBoxHeader(data[at:], int64(at), int64(len(data)))
			if ferr == nil && h.Type != "moof" && h.Type != "mdat" {
				at = int(h.End())
				continue
			}
			var p Part
			if ferr == nil {
				p, ferr = readPart(data, at)
			}
			if ferr != nil {
				yield(Part{}, ferr)
				return
			}
			if !yield(p, nil) {
				return
			}
			at += p.Size
		}
	}
}

// ReadPartHeader reads a moof without its media: data holds the moof at its
// start, and may end with it. Part.Size is what the samples imply.
func ReadPartHeader(data []byte) (Part, error) {
	p, ferr := readMoof(data, 0)
	if ferr != nil {
		return Part{}, ferr
	}
	end := p.Moof + boxHeader
	for i := range p.Samples {
		end = max(end, p.Samples[i].At+p.Samples[i].Size)
	}
	p.Size = end
	return p, nil
}

// readPart reads the moof at offset at and the mdat that must follow it.
func readPart(data []byte, at int) (Part, *FormatError) {
	p, ferr := readMoof(data[at:], at)
	if ferr != nil {
		return Part{}, ferr
	}
	mdatAt := at + p.Moof
	mdat, ferr := parseBoxHeader(data[mdatAt:], int64(mdatAt), int64(len(data)))
	if ferr != nil {
		return Part{}, ferr
	}
	if mdat.Type != "mdat" {
		return Part{}, &FormatError{Offset: int64(mdatAt), Box: mdat.Type, Reason: "want mdat after moof"}
	}
	p.Size = p.Moof + int(mdat.Size)
	first := p.Moof + int(mdat.Header)
	for i := range p.Samples {
		s := &p.Samples[i]
		if s.At < first || s.Size > p.Size-s.At {
			return Part{}, &FormatError{Offset: int64(at), Box: "trun", Reason: fmt.Sprintf("sample %d lies outside the mdat", i)}
		}
		s.Data = data[at+s.At : at+s.At+s.Size : at+s.At+s.Size]
	}
	return p, nil
}

// fragmentHeader collects what the boxes of one moof say.
type fragmentHeader struct {
	part                   Part
	trafs                  int
	hasTfhd, hasTfdt       bool
	defaultDuration        uint32
	defaultSize            uint32
	defaultFlags           uint32
	next                   int // where the next run's data begins, from the moof
	base                   int // of b in the bytes given, for errors
	hasSequence, hasOffset bool
}

// readMoof reads the moof at the start of b, which stands at base.
func readMoof(b []byte, base int) (Part, *FormatError) {
	h, ferr := parseBoxHeader(b, int64(base), int64(base+len(b)))
	if ferr != nil {
		return Part{}, ferr
	}
	if h.Type != "moof" {
		return Part{}, &FormatError{Offset: int64(base), Box: h.Type, Reason: "want moof"}
	}
	f := fragmentHeader{base: base, part: Part{Offset: base, Moof: int(h.Size)}}
	moof := b[:h.Size]
	for at := int(h.Header); at < len(moof); {
		c, ferr := f.child(moof, at)
		if ferr != nil {
			return Part{}, ferr
		}
		switch c.Type {
		case "mfhd":
			if c.Size < c.Header+8 {
				return Part{}, f.fault(at, c.Type, "too short")
			}
			f.part.Sequence = binary.BigEndian.Uint32(moof[at+int(c.Header)+4:])
			f.hasSequence = true
		case "traf":
			if ferr := f.readTraf(moof, at, c); ferr != nil {
				return Part{}, ferr
			}
		}
		at = int(c.End())
	}
	if !f.hasSequence || f.trafs != 1 {
		return Part{}, f.fault(0, "moof", fmt.Sprintf("has %d traf boxes, want an mfhd and one traf", f.trafs))
	}
	return f.part, nil
}

func (f *fragmentHeader) fault(at int, box, reason string) *FormatError {
	return &FormatError{Offset: int64(f.base + at), Box: box, Reason: reason}
}

// child parses the header of a box within the moof.
func (f *fragmentHeader) child(within []byte, at int) (BoxHeader, *FormatError) {
	c, ferr := childHeader(within, at)
	if ferr != nil {
		ferr.Offset += int64(f.base)
	}
	return c, ferr
}

func (f *fragmentHeader) readTraf(moof []byte, start int, traf BoxHeader) *FormatError {
	f.trafs++
	end := start + int(traf.Size)
	for at := start + int(traf.Header); at < end; {
		c, ferr := f.child(moof[:end], at)
		if ferr != nil {
			return ferr
		}
		body := moof[at+int(c.Header) : at+int(c.Size)]
		switch c.Type {
		case "tfhd":
			ferr = f.readTfhd(at, body)
		case "tfdt":
			ferr = f.readTfdt(at, body)
		case "trun":
			ferr = f.readTrun(at, body)
		}
		if ferr != nil {
			return ferr
		}
		at = int(c.End())
	}
	if !f.hasTfhd || !f.hasTfdt {
		return f.fault(start, "traf", "lacks its tfhd or tfdt")
	}
	return nil
}

func (f *fragmentHeader) readTfhd(at int, b []byte) *FormatError {
	if f.hasTfhd || len(b) < 8 {
		return f.fault(at, "tfhd", "too short, or not the only one")
	}
	flags := binary.BigEndian.Uint32(b) & 0xffffff
	id := binary.BigEndian.Uint32(b[4:])
	if id == 0 || id > math.MaxInt32 {
		return f.fault(at, "tfhd", fmt.Sprintf("track_ID %d is not possible", id))
	}
	if flags&0x01 != 0 || flags&tfhdDefaultBaseIsMoof == 0 {
		return f.fault(at, "tfhd", "data offsets do not count from the moof")
	}
	f.part.TrackID, f.hasTfhd = int(id), true
	b = b[8:]
	for _, field := range [...]struct {
		flag uint32
		to   *uint32
	}{{0x02, new(uint32)}, {0x08, &f.defaultDuration}, {0x10, &f.defaultSize}, {0x20, &f.defaultFlags}} {
		if flags&field.flag == 0 {
			continue
		}
		if len(b) < 4 {
			return f.fault(at, "tfhd", "shorter than its flags say")
		}
		*field.to, b = binary.BigEndian.Uint32(b), b[4:]
	}
	return nil
}

func (f *fragmentHeader) readTfdt(at int, b []byte) *FormatError {
	switch {
	case f.hasTfdt || len(b) < 8:
		return f.fault(at, "tfdt", "too short, or not the only one")
	case b[0] == 0:
		f.part.DecodeTime = int64(binary.BigEndian.Uint32(b[4:]))
	case len(b) < 12:
		return f.fault(at, "tfdt", "too short")
	default:
		v := binary.BigEndian.Uint64(b[4:])
		if v > math.MaxInt64 {
			return f.fault(at, "tfdt", fmt.Sprintf("decode time %d is not possible", v))
		}
		f.part.DecodeTime = int64(v)
	}
	f.hasTfdt = true
	return nil
}

func (f *fragmentHeader) readTrun(at int, b []byte) *FormatError {
	if !f.hasTfhd || len(b) < 8 {
		return f.fault(at, "trun", "too short, or before the tfhd")
	}
	flags := binary.BigEndian.Uint32(b) & 0xffffff
	count := int(binary.BigEndian.Uint32(b[4:]))
	b = b[8:]
	if flags&trunDataOffset != 0 {
		if len(b) < 4 {
			return f.fault(at, "trun", "too short")
		}
		off := int32(binary.BigEndian.Uint32(b))
		if off < 0 {
			return f.fault(at, "trun", fmt.Sprintf("data offset %d lies before the moof", off))
		}
		f.next, b, f.hasOffset = int(off), b[4:], true
	}
	if !f.hasOffset {
		return f.fault(at, "trun", "has no data offset")
	}
	firstFlags := f.defaultFlags
	if flags&trunFirstFlags != 0 {
		if len(b) < 4 {
			return f.fault(at, "trun", "too short")
		}
		firstFlags, b = binary.BigEndian.Uint32(b), b[4:]
	}
	return f.readSamples(at, b, flags, firstFlags, count)
}

// maxUniform bounds the samples of a run that says nothing of each, which
// AppendPart never writes.
const maxUniform = 4096

// readSamples reads the entries of a trun. Their number is bounded by the bytes
// there are.
func (f *fragmentHeader) readSamples(at int, b []byte, flags, firstFlags uint32, count int) *FormatError {
	width := 0
	for _, flag := range [...]uint32{trunDurations, trunSizes, trunFlags, trunCompOffsets} {
		if flags&flag != 0 {
			width += 4
		}
	}
	if width == 0 && count > maxUniform || width > 0 && count > len(b)/width {
		return f.fault(at, "trun", fmt.Sprintf("%d samples do not fit in %d bytes", count, len(b)))
	}
	if f.part.Samples == nil {
		f.part.Samples = make([]Sample, 0, count)
	}
	for i := range count {
		s := Sample{Duration: f.defaultDuration, At: f.next}
		size, sampleFlags := f.defaultSize, f.defaultFlags
		if i == 0 {
			sampleFlags = firstFlags
		}
		if flags&trunDurations != 0 {
			s.Duration, b = binary.BigEndian.Uint32(b), b[4:]
		}
		if flags&trunSizes != 0 {
			size, b = binary.BigEndian.Uint32(b), b[4:]
		}
		if flags&trunFlags != 0 {
			sampleFlags, b = binary.BigEndian.Uint32(b), b[4:]
		}
		if flags&trunCompOffsets != 0 {
			s.Offset, b = int32(binary.BigEndian.Uint32(b)), b[4:]
		}
		s.Key = sampleFlags&flagNonSync == 0
		s.Size = int(size)
		f.next += s.Size
		f.part.Duration += int64(s.Duration)
		f.part.Samples = append(f.part.Samples, s)
	}
	return nil
}
