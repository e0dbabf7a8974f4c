package cmaf

import (
	"encoding/binary"
	"slices"

	"github.com/kineweir/kineweir/fragments"
)

// Layout of a part, offsets in bytes:
//
//	0 moof   8 mfhd  20 sequence
//	        24 traf  32 tfhd  44 track_ID
//	                 48 tfdt  60 decode time, 64 bits
//	                 68 trun  80 sample count, 84 data offset, 88 samples
//	  mdat     sample after sample
//
// A sample in the trun is its duration and size, then its flags when any sample
// is no key, then its composition offset when any is not zero. These are the
// bytes that mediacommon's fmp4 package writes for the same part.
const (
	tfdtAt = 60 // of the decode time in a moof that AppendPart wrote
	trunAt = 68
	runAt  = 88 // of the first sample in the trun

	tfhdDefaultBaseIsMoof = 0x020000

	trunDataOffset  = 0x01
	trunFirstFlags  = 0x04
	trunDurations   = 0x100
	trunSizes       = 0x200
	trunFlags       = 0x400
	trunCompOffsets = 0x800

	flagNonSync = 1 << 16
)

// AppendPart appends one part of the track t to dst, a moof and an mdat box,
// and allocates at most once. The decode time is in ticks of the track and not
// negative; the part must be below 4 GiB. H264 and H265 NAL units get 4-byte
// lengths; AV1 OBUs get size fields, and temporal delimiters are dropped
// (AV1 in ISOBMFF, 2.4); all else is copied as it is.
func AppendPart(dst []byte, t *fragments.Track, sequence uint32, decodeTime int64, samples []fragments.Sample) []byte {
	flags, perSample := uint32(trunDataOffset|trunDurations|trunSizes), 8
	media := 0
	for i := range samples {
		s := &samples[i]
		media += sampleSize(t.Codec, s.Payload)
		if !s.Key && flags&trunFlags == 0 {
			flags |= trunFlags
			perSample += 4
		}
		if s.Offset != 0 && flags&trunCompOffsets == 0 {
			flags |= trunCompOffsets
			perSample += 4
		}
	}
	moof := runAt + perSample*len(samples)
	if len(dst) == 0 && cap(dst) < moof+boxHeader+media {
		dst = make([]byte, 0, moof+boxHeader+media) // exactly: parts are kept for long
	} else {
		dst = slices.Grow(dst, moof+boxHeader+media)
	}

	be := binary.BigEndian
	dst = append(be.AppendUint32(dst, uint32(moof)), "moof\x00\x00\x00\x10mfhd\x00\x00\x00\x00"...)
	dst = be.AppendUint32(dst, sequence)
	dst = append(be.AppendUint32(dst, uint32(moof-24)), "traf\x00\x00\x00\x10tfhd\x00\x02\x00\x00"...)
	dst = be.AppendUint32(dst, uint32(t.ID))
	dst = append(dst, "\x00\x00\x00\x14tfdt\x01\x00\x00\x00"...)
	dst = be.AppendUint64(dst, uint64(decodeTime))
	dst = append(be.AppendUint32(dst, uint32(moof-trunAt)), "trun"...)
	dst = be.AppendUint32(dst, 1<<24|flags)
	dst = be.AppendUint32(dst, uint32(len(samples)))
	dst = be.AppendUint32(dst, uint32(moof+boxHeader))
	for i := range samples {
		dst = appendRunEntry(dst, t.Codec, &samples[i], flags)
	}
	dst = append(be.AppendUint32(dst, uint32(boxHeader+media)), "mdat"...)
	for i := range samples {
		dst = appendPayload(dst, t.Codec, samples[i].Payload)
	}
	return dst
}

func appendRunEntry(dst []byte, c fragments.Codec, s *fragments.Sample, flags uint32) []byte {
	dst = binary.BigEndian.AppendUint32(dst, s.Duration)
	dst = binary.BigEndian.AppendUint32(dst, uint32(sampleSize(c, s.Payload)))
	if flags&trunFlags != 0 {
		var f uint32
		if !s.Key {
			f = flagNonSync
		}
		dst = binary.BigEndian.AppendUint32(dst, f)
	}
	if flags&trunCompOffsets != 0 {
		dst = binary.BigEndian.AppendUint32(dst, s.Offset)
	}
	return dst
}

// sampleSize returns how many bytes appendPayload appends.
func sampleSize(c fragments.Codec, payload [][]byte) int {
	n := 0
	switch c {
	case fragments.H264, fragments.H265:
		for _, nalu := range payload {
			if len(nalu) > 0 {
				n += 4 + len(nalu)
			}
		}
	case fragments.AV1:
		for _, obu := range payload {
			if !droppedOBU(obu) {
				n += sizedOBU(obu)
			}
		}
	default:
		for _, p := range payload {
			n += len(p)
		}
	}
	return n
}

func appendPayload(dst []byte, c fragments.Codec, payload [][]byte) []byte {
	switch c {
	case fragments.H264, fragments.H265:
		for _, nalu := range payload {
			if len(nalu) > 0 {
				dst = append(binary.BigEndian.AppendUint32(dst, uint32(len(nalu))), nalu...)
			}
		}
	case fragments.AV1:
		for _, obu := range payload {
			if !droppedOBU(obu) {
				dst = appendSizedOBU(dst, obu)
			}
		}
	default:
		for _, p := range payload {
			dst = append(dst, p...)
		}
	}
	return dst
}
