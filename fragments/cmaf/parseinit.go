package cmaf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/kineweir/kineweir/fragments"
)

// ParseInit reads the tracks of the first moov box in data, in their order: the
// inverse of InitSegment. The tracks share no memory with data and have the
// hashes of those that were written; Reorder is -1 for video, for an MP4 file
// does not say it. The error is a *FormatError; a moov without a track, and a
// sample entry of a codec that InitSegment never writes, are errors too.
func ParseInit(data []byte) ([]*fragments.Track, error) {
	for at := 0; at < len(data); {
		h, ferr := parseBoxHeader(data[at:], int64(at), int64(len(data)))
		if ferr != nil {
			return nil, ferr
		}
		if h.Type == "moov" {
			tracks, ferr := readMoov(data[:h.End()], int(h.Payload()))
			if ferr != nil {
				return nil, ferr
			}
			return tracks, nil
		}
		at = int(h.End())
	}
	return nil, &FormatError{Box: "moov", Reason: "not there"}
}

// eachChild calls f with the body of each box of data from at on, and its
// offset, until f fails.
func eachChild(data []byte, at int, f func(h BoxHeader, body []byte) *FormatError) *FormatError {
	for at < len(data) {
		h, ferr := childHeader(data, at)
		if ferr != nil {
			return ferr
		}
		if ferr := f(h, data[h.Payload():h.End()]); ferr != nil {
			return ferr
		}
		at = int(h.End())
	}
	return nil
}

func readMoov(data []byte, at int) ([]*fragments.Track, *FormatError) {
	var tracks []*fragments.Track
	ferr := eachChild(data, at, func(h BoxHeader, _ []byte) *FormatError {
		if h.Type != "trak" {
			return nil
		}
		if len(tracks) == maxTracks {
			return faultAt(h, fmt.Sprintf("is one more than %d tracks", maxTracks))
		}
		t := &fragments.Track{}
		if ferr := readTrak(data[:h.End()], int(h.Payload()), t); ferr != nil {
			return ferr
		}
		for _, other := range tracks {
			if other.ID == t.ID {
				return faultAt(h, fmt.Sprintf("track_ID %d is there twice", t.ID))
			}
		}
		if t.ID == 0 || t.TimeScale == 0 || t.Codec == "" {
			return faultAt(h, "lacks its tkhd, mdhd or stsd")
		}
		if t.Kind() == fragments.KindVideo {
			t.Reorder = -1
		}
		tracks = append(tracks, t)
		return nil
	})
	if ferr == nil && len(tracks) == 0 {
		ferr = &FormatError{Offset: int64(at), Box: "moov", Reason: "has no track"}
	}
	return tracks, ferr
}

func faultAt(h BoxHeader, reason string) *FormatError {
	return &FormatError{Offset: h.Offset, Box: h.Type, Reason: reason}
}

// readTrak descends from trak to stsd; the depth is that of the names.
func readTrak(data []byte, at int, t *fragments.Track) *FormatError {
	return eachChild(data, at, func(h BoxHeader, body []byte) *FormatError {
		switch h.Type {
		case "tkhd":
			id, ok := afterTimes(body)
			if !ok || id == 0 || id > math.MaxInt32 {
				return faultAt(h, fmt.Sprintf("track_ID %d is not possible", id))
			}
			t.ID = int(id)
		case "mdia":
			return readMdia(data[:h.End()], int(h.Payload()), t)
		}
		return nil
	})
}

func readMdia(data []byte, at int, t *fragments.Track) *FormatError {
	return eachChild(data, at, func(h BoxHeader, body []byte) *FormatError {
		switch h.Type {
		case "mdhd":
			scale, ok := afterTimes(body)
			if !ok || scale == 0 {
				return faultAt(h, "has no time scale")
			}
			t.TimeScale = scale
		case "minf":
			return eachChild(data[:h.End()], int(h.Payload()), func(h BoxHeader, _ []byte) *FormatError {
				if h.Type != "stbl" {
					return nil
				}
				return eachChild(data[:h.End()], int(h.Payload()), func(h BoxHeader, body []byte) *FormatError {
					if h.Type != "stsd" {
						return nil
					}
					if len(body) < 8 || binary.BigEndian.Uint32(body[4:]) != 1 {
						return faultAt(h, "want one sample entry")
					}
					return readEntry(body[8:], int(h.Payload())+8, t)
				})
			})
		}
		return nil
	})
}

// afterTimes returns the 32 bits that follow version, flags and the creation and
// modification times: track_ID in tkhd, timescale in mdhd.
func afterTimes(b []byte) (uint32, bool) {
	at := 12
	if len(b) > 0 && b[0] == 1 {
		at = 20
	}
	if len(b) < at+4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(b[at:]), true
}

// readEntry fills t from the sample entry at the start of b, which stands at
// base.
func readEntry(b []byte, base int, t *fragments.Track) *FormatError {
	h, ferr := childHeader(b, 0)
	if ferr == nil {
		b = b[:h.End()]
		ferr = readEntryBoxes(b, h, t)
	}
	if ferr != nil {
		ferr.Offset += int64(base)
	}
	return ferr
}

// entryKinds are the codecs of sample entries; mp4a is told apart by its esds.
var entryKinds = map[string]fragments.Codec{
	"avc1": fragments.H264, "avc3": fragments.H264, "hvc1": fragments.H265, "hev1": fragments.H265,
	"av01": fragments.AV1, "vp08": fragments.VP8, "vp09": fragments.VP9,
	"mp4a": fragments.AAC, "Opus": fragments.Opus, "ulaw": fragments.PCMU, "alaw": fragments.PCMA,
	"ipcm": fragments.LPCM, "fLaC": FLAC, opaqueEntry: fragments.Opaque,
}

func readEntryBoxes(b []byte, h BoxHeader, t *fragments.Track) *FormatError {
	codec, ok := entryKinds[h.Type]
	if !ok {
		return faultAt(h, "sample entry of an unknown codec")
	}
	t.Codec = codec
	head := plainEntrySize
	switch {
	case codec.Kind() == fragments.KindVideo:
		head = videoEntrySize
	case codec != fragments.Opaque:
		head = audioEntrySize
	}
	if len(b) < head {
		return faultAt(h, "too short for its kind")
	}
	switch head {
	case videoEntrySize:
		t.Width = int(binary.BigEndian.Uint16(b[32:]))
		t.Height = int(binary.BigEndian.Uint16(b[34:]))
	case audioEntrySize:
		t.Channels = int(binary.BigEndian.Uint16(b[24:]))
		t.SampleRate = int(binary.BigEndian.Uint32(b[32:]) >> 16)
	}
	return eachChild(b, head, func(h BoxHeader, body []byte) *FormatError {
		return readConfig(h, body, t)
	})
}

// readConfig fills t from a box within its sample entry.
func readConfig(h BoxHeader, b []byte, t *fragments.Track) *FormatError {
	ok := true
	switch h.Type {
	case "avcC":
		t.Params, ok = readAVC(b)
	case "hvcC":
		t.Params, ok = readHEVC(b)
	case "av1C":
		t.Params, ok = readAV1(b)
	case "vpcC":
		if ok = len(b) >= 4+len(defaultVP) && b[0] == 1; ok && t.Codec == fragments.VP9 {
			t.Params = [][]byte{bytes.Clone(b[4:])}
		}
	case "esds":
		ok = readESDS(b, t)
	case "pcmC":
		if ok = len(b) >= 6 && b[4]&1 == 0; ok {
			t.BitDepth = int(b[5])
		}
	case "dfLa":
		ok = readDfLa(b, t)
	case "uuid":
		if h.UUID == exactUUID {
			return readExact(b, int(h.Offset), t)
		}
	}
	if !ok {
		return faultAt(h, "is broken, or of a kind that is not written here")
	}
	return nil
}

// cutSets takes n parameter sets, each after its 16-bit length, off b.
func cutSets(b []byte, n int, sets [][]byte) (rest []byte, all [][]byte, ok bool) {
	for range n {
		if len(b) < 2 || int(binary.BigEndian.Uint16(b)) > len(b)-2 {
			return nil, nil, false
		}
		end := 2 + int(binary.BigEndian.Uint16(b))
		sets = append(sets, bytes.Clone(b[2:end]))
		b = b[end:]
	}
	return b, sets, true
}

func readAVC(b []byte) (sets [][]byte, ok bool) {
	if len(b) < 7 || b[0] != 1 || b[4]&3 != 3 {
		return nil, false
	}
	rest, sets, ok := cutSets(b[6:], int(b[5]&31), nil)
	if !ok || len(rest) < 1 {
		return nil, false
	}
	rest, sets, ok = cutSets(rest[1:], int(rest[0]), sets)
	if ok && len(rest) >= 4 {
		_, sets, ok = cutSets(rest[4:], int(rest[3]), sets)
	}
	return sets, ok
}

func readHEVC(b []byte) (sets [][]byte, ok bool) {
	if len(b) < 23 || b[0] != 1 || b[21]&3 != 3 {
		return nil, false
	}
	rest := b[23:]
	for range int(b[22]) {
		if len(rest) < 3 {
			return nil, false
		}
		if rest, sets, ok = cutSets(rest[3:], int(binary.BigEndian.Uint16(rest[1:])), sets); !ok {
			return nil, false
		}
	}
	return sets, true
}

func readAV1(b []byte) (sets [][]byte, ok bool) {
	if len(b) < 4 || b[0] != 0x81 {
		return nil, false
	}
	for b = b[4:]; len(b) > 0; {
		var obu []byte
		if obu, b, ok = cutOBU(b); !ok {
			return nil, false
		}
		sets = append(sets, obu)
	}
	return sets, true
}

func readDfLa(b []byte, t *fragments.Track) bool {
	if len(b) < 8+streamInfoBytes || b[4]&127 != 0 || b[7] != streamInfoBytes {
		return false
	}
	info := bytes.Clone(b[8 : 8+streamInfoBytes])
	t.Params = [][]byte{info}
	t.BitDepth = int(info[12]&1)<<4 | int(info[13]>>4) + 1
	return true
}

// cutDescriptor takes a descriptor of the wanted tag off b: its body and what
// follows it.
func cutDescriptor(b []byte, tag byte) (body, rest []byte, ok bool) {
	if len(b) < 2 || b[0] != tag {
		return nil, nil, false
	}
	n, at := 0, 1
	for ; at < len(b) && at <= 4; at++ {
		n = n<<7 | int(b[at]&127)
		if b[at]&128 == 0 {
			break
		}
	}
	at++
	if at > len(b) || n > len(b)-at {
		return nil, nil, false
	}
	return b[at : at+n], b[at+n:], true
}

func readESDS(b []byte, t *fragments.Track) bool {
	if len(b) < 4 {
		return false
	}
	es, _, ok := cutDescriptor(b[4:], 3)
	if !ok || len(es) < 3 || es[2]&0xe0 != 0 {
		return false
	}
	config, _, ok := cutDescriptor(es[3:], 4)
	if !ok || len(config) < 13 {
		return false
	}
	switch config[0] {
	case objectMP3, objectMP3LSF:
		t.Codec = fragments.MP3
	case objectAAC:
		t.Codec = fragments.AAC
		if specific, _, ok := cutDescriptor(config[13:], 5); ok && len(specific) > 0 {
			t.Params = [][]byte{bytes.Clone(specific)}
		}
	default:
		return false
	}
	return true
}
