package cmaf

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/kineweir/kineweir/fragments"
)

// matrix is the unity transformation of mvhd and tkhd.
const matrix = "\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00" +
	"\x00\x00\x00\x00\x00\x00\x00\x00\x40\x00\x00\x00"

// InitSegment returns the ftyp and moov boxes for the given tracks, in their
// order:
//
//	ftyp
//	moov  mvhd
//	      trak  tkhd                                    one for each track
//	            mdia  mdhd  hdlr
//	                  minf  vmhd, smhd or nmhd
//	                        dinf  dref  url
//	                        stbl  stsd  (sample entry)  stts  stsc  stsz  stco
//	      mvex  trex                                    one for each track
//
// Every codec gets a sample entry, an opaque one too, so that ParseInit gives
// back tracks with the same hashes. It fails only for what no MP4 file can
// hold: no tracks, an identifier that is not positive or not unique, a missing
// time scale, parameter sets of more than 64 KiB.
func InitSegment(tracks ...*fragments.Track) ([]byte, error) {
	if err := checkTracks(tracks); err != nil {
		return nil, err
	}
	be := binary.BigEndian
	b := make([]byte, 0, 512+1024*len(tracks))
	b, at := beginBox(b, "ftyp")
	b = append(b, "mp42\x00\x00\x00\x01mp41mp42isomiso5iso6"...)
	endBox(b, at)

	b, moov := beginBox(b, "moov")
	b, at = beginBox(b, "mvhd")
	b = append(b, make([]byte, 12)...) // version, flags, creation and modification time
	b = be.AppendUint32(b, 1000)       // time scale
	b = append(b, "\x00\x00\x00\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"+matrix...)
	b = append(b, make([]byte, 24)...)
	b = be.AppendUint32(b, math.MaxUint32) // next track ID: look for a free one
	endBox(b, at)
	for _, t := range tracks {
		var err error
		if b, err = appendTrak(b, t); err != nil {
			return nil, fmt.Errorf("track %d (%s): %w", t.ID, t.Codec, err)
		}
	}
	b, mvex := beginBox(b, "mvex")
	for _, t := range tracks {
		b, at = beginBox(b, "trex")
		b = be.AppendUint32(b, 0)
		b = be.AppendUint32(b, uint32(t.ID))
		b = be.AppendUint32(b, 1)          // sample description
		b = append(b, make([]byte, 12)...) // duration, size, flags
		endBox(b, at)
	}
	endBox(b, mvex)
	endBox(b, moov)
	return b, nil
}

// maxTracks bounds the tracks of a file, written or read.
const maxTracks = 1024

func checkTracks(tracks []*fragments.Track) error {
	if len(tracks) == 0 || len(tracks) > maxTracks {
		return fmt.Errorf("an initialisation segment has from 1 to %d tracks, not %d", maxTracks, len(tracks))
	}
	seen := make(map[int]bool, len(tracks))
	for _, t := range tracks {
		switch {
		case t.ID <= 0 || t.ID > math.MaxInt32:
			return fmt.Errorf("track %d: an identifier must be from 1 to %d", t.ID, math.MaxInt32)
		case seen[t.ID]:
			return fmt.Errorf("track %d is there twice", t.ID)
		case t.TimeScale == 0:
			return fmt.Errorf("track %d (%s) has no time scale", t.ID, t.Codec)
		}
		seen[t.ID] = true
	}
	return nil
}

func appendTrak(b []byte, t *fragments.Track) ([]byte, error) {
	be := binary.BigEndian
	h := handlerOf(t)
	b, trak := beginBox(b, "trak")
	b, at := beginBox(b, "tkhd")
	b = append(b, "\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x00"...) // enabled, in movie
	b = be.AppendUint32(b, uint32(t.ID))
	b = append(b, make([]byte, 20)...) // duration, layer, alternate group
	b = be.AppendUint16(b, h.volume)
	b = append(b, "\x00\x00"+matrix...)
	b = be.AppendUint32(b, uint32(min(max(t.Width, 0), math.MaxUint16))<<16)
	b = be.AppendUint32(b, uint32(min(max(t.Height, 0), math.MaxUint16))<<16)
	endBox(b, at)

	b, mdia := beginBox(b, "mdia")
	b, at = beginBox(b, "mdhd")
	b = append(b, make([]byte, 12)...)
	b = be.AppendUint32(b, t.TimeScale)
	b = append(b, "\x00\x00\x00\x00\x55\xc4\x00\x00"...) // duration, language "und"
	endBox(b, at)
	b, at = beginBox(b, "hdlr")
	b = append(b, make([]byte, 8)...)
	b = append(b, h.typ...)
	b = append(b, make([]byte, 12)...)
	b = append(append(b, h.name...), 0)
	endBox(b, at)

	b, minf := beginBox(b, "minf")
	b, at = beginBox(b, h.header)
	b = append(b, h.headerBody...)
	endBox(b, at)
	b = append(b, "\x00\x00\x00\x24dinf\x00\x00\x00\x1cdref\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x0curl \x00\x00\x00\x01"...)
	b, stbl := beginBox(b, "stbl")
	b, err := appendStsd(b, t)
	if err != nil {
		return nil, err
	}
	b = append(b, "\x00\x00\x00\x10stts\x00\x00\x00\x00\x00\x00\x00\x00"...)
	b = append(b, "\x00\x00\x00\x10stsc\x00\x00\x00\x00\x00\x00\x00\x00"...)
	b = append(b, "\x00\x00\x00\x14stsz\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
	b = append(b, "\x00\x00\x00\x10stco\x00\x00\x00\x00\x00\x00\x00\x00"...)
	for _, start := range [...]int{stbl, minf, mdia, trak} {
		endBox(b, start)
	}
	return b, nil
}

// handler is what the boxes around a sample entry say of the kind of media.
type handler struct {
	typ, name          string
	header, headerBody string // media header box
	volume             uint16 // 8.8
}

func handlerOf(t *fragments.Track) handler {
	switch {
	case t.Kind() == fragments.KindVideo:
		return handler{"vide", "VideoHandler", "vmhd", "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00", 0}
	case t.Kind() == fragments.KindAudio || t.Codec == FLAC:
		return handler{"soun", "SoundHandler", "smhd", "\x00\x00\x00\x00\x00\x00\x00\x00", 0x100}
	}
	return handler{"meta", "OpaqueHandler", "nmhd", "\x00\x00\x00\x00", 0}
}

// appendStsd appends the sample description: one entry, and within it an exact
// box when the standard boxes alone do not give the track back as it is.
func appendStsd(b []byte, t *fragments.Track) ([]byte, error) {
	b, stsd := beginBox(b, "stsd")
	b = append(b, "\x00\x00\x00\x00\x00\x00\x00\x01"...)
	entry := len(b)
	b, err := appendEntry(b, t)
	if err != nil {
		return nil, err
	}
	endBox(b, entry)
	if !readsBack(b[entry:], t) {
		b = appendExact(b, t)
		endBox(b, entry)
		if !readsBack(b[entry:], t) {
			return nil, fmt.Errorf("a field of it is out of range")
		}
	}
	endBox(b, stsd)
	return b, nil
}

// readsBack reports whether the sample entry tells all that there is to t.
func readsBack(entry []byte, t *fragments.Track) bool {
	read := &fragments.Track{ID: t.ID, TimeScale: t.TimeScale}
	return readEntry(entry, 0, read) == nil && read.Hash() == t.Hash()
}
