package cmaf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
)

// FormatError says where and why bytes are not the MP4 they should be.
type FormatError struct {
	Offset int64  // of the box at fault, in the bytes or file that was given
	Box    string // its type, or of the box that was expected
	Reason string
	// Torn: the bytes end before the box does, as after a crash while writing.
	Torn bool
}

// Error returns the box, its offset and what is wrong with it.
func (e *FormatError) Error() string {
	return fmt.Sprintf("mp4 box %q at offset %d: %s", e.Box, e.Offset, e.Reason)
}

// Unwrap returns io.ErrUnexpectedEOF when the box is torn.
func (e *FormatError) Unwrap() error {
	if e.Torn {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// BoxHeader is the head of one box of an MP4 file.
type BoxHeader struct {
	Type   string   // four characters
	UUID   [16]byte // of a uuid box
	Offset int64    // of the box
	Header int64    // bytes of the header, the UUID included
	Size   int64    // bytes of the whole box
}

// End returns the offset of the first byte after the box.
func (h BoxHeader) End() int64 { return h.Offset + h.Size }

// Payload returns the offset of the first byte after the header.
func (h BoxHeader) Payload() int64 { return h.Offset + h.Header }

const (
	boxHeader  = 8
	uuidHeader = boxHeader + 16
)

// ReadBoxHeader reads the header of the box at off. It returns io.EOF when off
// is limit or beyond, and a *FormatError when there is no box or when it would
// end after limit (then Torn is set). A size of zero, which stands for "up to
// the end", is taken as a fault: nothing here writes it.
func ReadBoxHeader(r io.ReaderAt, off, limit int64) (BoxHeader, error) {
	if off >= limit {
		return BoxHeader{}, io.EOF
	}
	var buf [32]byte // size, type, largesize, uuid
	n, err := r.ReadAt(buf[:min(int64(len(buf)), limit-off)], off)
	if err != nil && !errors.Is(err, io.EOF) {
		return BoxHeader{}, fmt.Errorf("read box header at offset %d: %w", off, err)
	}
	h, ferr := parseBoxHeader(buf[:n], off, limit)
	if ferr != nil {
		return BoxHeader{}, ferr
	}
	return h, nil
}

// parseBoxHeader parses the header at the start of b, which stands at off.
func parseBoxHeader(b []byte, off, limit int64) (BoxHeader, *FormatError) {
	if len(b) < boxHeader {
		return BoxHeader{}, &FormatError{Offset: off, Reason: fmt.Sprintf("%d bytes left, too few for a box", len(b)), Torn: true}
	}
	h := BoxHeader{Type: boxType(b[4:8]), Offset: off, Header: boxHeader, Size: int64(binary.BigEndian.Uint32(b))}
	fault := func(torn bool, format string, a ...any) (BoxHeader, *FormatError) {
		return BoxHeader{}, &FormatError{Offset: off, Box: h.Type, Reason: fmt.Sprintf(format, a...), Torn: torn}
	}
	if h.Size == 1 {
		if len(b) < 16 {
			return fault(true, "cut within its size")
		}
		large := binary.BigEndian.Uint64(b[8:])
		if large > 1<<62 {
			return fault(false, "size %d is not possible", large)
		}
		h.Header, h.Size = 16, int64(large)
	}
	if h.Type == "uuid" {
		if int64(len(b)) < h.Header+16 {
			return fault(true, "cut within its uuid")
		}
		copy(h.UUID[:], b[h.Header:])
		h.Header += 16
	}
	if h.Size < h.Header {
		return fault(false, "size %d is less than its header", h.Size)
	}
	if h.Size > limit-off {
		return fault(true, "size %d, %d bytes left", h.Size, limit-off)
	}
	return h, nil
}

// childHeader parses the header at offset at of data, the bytes up to the end of
// the parent box: a child that sticks out of it is at fault, not torn.
func childHeader(data []byte, at int) (BoxHeader, *FormatError) {
	h, ferr := parseBoxHeader(data[at:], int64(at), int64(len(data)))
	if ferr != nil {
		ferr.Torn = false
	}
	return h, ferr
}

// boxType returns the type as a string, without allocating for those that
// stand in objects and parts.
func boxType(b []byte) string {
	switch string(b) {
	case "moof":
		return "moof"
	case "mfhd":
		return "mfhd"
	case "traf":
		return "traf"
	case "tfhd":
		return "tfhd"
	case "tfdt":
		return "tfdt"
	case "trun":
		return "trun"
	case "mdat":
		return "mdat"
	case "uuid":
		return "uuid"
	case "prft":
		return "prft"
	case "ftyp":
		return "ftyp"
	case "styp":
		return "styp"
	case "moov":
		return "moov"
	case "free":
		return "free"
	}
	return string(b)
}

// Boxes walks the boxes of r from off up to end, not into them. After an error
// it stops.
func Boxes(r io.ReaderAt, off, end int64) iter.Seq2[BoxHeader, error] {
	return func(yield func(BoxHeader, error) bool) {
		for at := off; at < end; {
			h, err := ReadBoxHeader(r, at, end)
			if !yield(h, err) || err != nil {
				return
			}
			at = h.End()
		}
	}
}

// AppendUUIDBox appends a uuid box to dst. A payload may be up to 4 GiB.
func AppendUUIDBox(dst []byte, id [16]byte, payload []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(uuidHeader+len(payload)))
	dst = append(dst, "uuid"...)
	dst = append(dst, id[:]...)
	return append(dst, payload...)
}

// ntpEpoch is 1970-01-01 in seconds since 1900-01-01, the origin of NTP.
const ntpEpoch = 2_208_988_800

// PrftSize is the size of what AppendPrft appends, bytes.
const PrftSize = 32

// AppendPrft appends a producer reference time box (ISO/IEC 14496-12, 8.16.5):
// the sample of the track at mediaTime, in ticks of the track, was captured at
// the UTC time ntp.
func AppendPrft(dst []byte, trackID int, ntp time.Time, mediaTime uint64) []byte {
	const captured = 24 // flags: the time is that of the capture
	dst = binary.BigEndian.AppendUint32(dst, PrftSize)
	dst = append(dst, "prft"...)
	dst = binary.BigEndian.AppendUint32(dst, 1<<24|captured)
	dst = binary.BigEndian.AppendUint32(dst, uint32(trackID))
	dst = binary.BigEndian.AppendUint32(dst, uint32(ntp.Unix()+ntpEpoch))
	dst = binary.BigEndian.AppendUint32(dst, uint32(uint64(ntp.Nanosecond())<<32/1e9))
	return binary.BigEndian.AppendUint64(dst, mediaTime)
}

// beginBox appends the header of a box whose size endBox fills in.
func beginBox(b []byte, typ string) ([]byte, int) {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	return append(b, typ...), at
}

func endBox(b []byte, at int) {
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at))
}
