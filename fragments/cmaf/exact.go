package cmaf

import (
	"encoding/binary"
	"fmt"

	"github.com/kineweir/kineweir/fragments"
)

// An exact box says of a track what standard boxes cannot: the Matroska CodecID
// and CodecPrivate of an opaque one, a sample rate above 65,535 Hz, a VP9 track
// of unknown profile. It is the last box of the sample entry, a uuid box that
// players pass over; where it is present it alone tells what the track is.
//
//	 0 size, "uuid"      8 exactUUID
//	24 version, 1 byte, always 1
//	25 width, height, sample rate, channels, bit depth: 4 bytes each
//	45 length, 2 bytes, and the codec
//	   length, 2 bytes, and the Matroska CodecID
//	   number of parameter sets, 4 bytes
//	   each: length, 4 bytes, and its bytes
//
// An opaque track has the sample entry "kwrx", which holds nothing else:
//
//	size, "kwrx", 6 bytes zero, data reference index 1 (2 bytes), exact box
const (
	opaqueEntry  = "kwrx"
	exactVersion = 1
)

var exactUUID = [16]byte{'k', 'w', '-', 't', 'r', 'a', 'c', 'k', 0x9d, 0x1f, 0x4e, 0x52, 0xb0, 0x61, 0x0a, 0xe3}

func appendExact(b []byte, t *fragments.Track) []byte {
	be := binary.BigEndian
	b, at := beginBox(b, "uuid")
	b = append(b, exactUUID[:]...)
	b = append(b, exactVersion)
	for _, v := range [...]int{t.Width, t.Height, t.SampleRate, t.Channels, t.BitDepth} {
		b = be.AppendUint32(b, uint32(v))
	}
	for _, s := range [...]string{string(t.Codec), t.CodecID} {
		b = append(be.AppendUint16(b, uint16(len(s))), s...)
	}
	b = be.AppendUint32(b, uint32(len(t.Params)))
	for _, p := range t.Params {
		b = append(be.AppendUint32(b, uint32(len(p))), p...)
	}
	endBox(b, at)
	return b
}

// readExact fills t from the body of an exact box, after its UUID, at offset at.
func readExact(b []byte, at int, t *fragments.Track) *FormatError {
	fault := func(reason string) *FormatError {
		return &FormatError{Offset: int64(at), Box: "uuid", Reason: reason}
	}
	be := binary.BigEndian
	if len(b) < 21 || b[0] != exactVersion {
		return fault("too short, or of an unknown version")
	}
	for i, to := range [...]*int{&t.Width, &t.Height, &t.SampleRate, &t.Channels, &t.BitDepth} {
		*to = int(int32(be.Uint32(b[1+4*i:])))
	}
	b = b[21:]
	var texts [2]string
	for i := range texts {
		if len(b) < 2 || int(be.Uint16(b)) > len(b)-2 {
			return fault("cut within a name")
		}
		n := 2 + int(be.Uint16(b))
		texts[i], b = string(b[2:n]), b[n:]
	}
	t.Codec, t.CodecID = fragments.Codec(texts[0]), texts[1]
	if len(b) < 4 {
		return fault("cut before its parameter sets")
	}
	n := be.Uint32(b)
	b = b[4:]
	t.Params = nil
	for i := range n {
		if len(b) < 4 || int64(be.Uint32(b)) > int64(len(b)-4) {
			return fault(fmt.Sprintf("cut within parameter set %d", i))
		}
		end := 4 + int(be.Uint32(b))
		t.Params = append(t.Params, append([]byte{}, b[4:end]...))
		b = b[end:]
	}
	return nil
}
