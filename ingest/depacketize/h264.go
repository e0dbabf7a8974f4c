package depacketize

import (
	"errors"
	"fmt"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/pion/rtp"

	"github.com/kineweir/kineweir/fragments"
)

type h264Depacketizer struct {
	format *format.H264
	dec    *rtph264.Decoder
	cur    *fragments.Track
	sets   paramSets
	bad    error // of a parameter set in the access unit being assembled
	out    [1]unit

	open   bool // the decoder holds part of an access unit
	openTS uint32
}

func newH264(id int, f *format.H264) (depacketizer, error) {
	dec, err := f.CreateDecoder()
	if err != nil {
		return nil, err
	}
	d := &h264Depacketizer{
		format: f, dec: dec,
		cur:  &fragments.Track{ID: id, Codec: fragments.H264, TimeScale: 90000, Reorder: -1},
		sets: paramSets{kinds: []byte{byte(h264.NALUTypeSPS), byte(h264.NALUTypePPS)}},
	}
	sps, pps := f.SafeParams()
	changed := d.put(sps)
	if d.put(pps) || changed {
		d.renew()
	}
	return d, nil
}

func (d *h264Depacketizer) track() *fragments.Track { return d.cur }

func (d *h264Depacketizer) reset() {
	d.dec, _ = d.format.CreateDecoder() // succeeded before
	d.open = false
}

// begins looks for what only the first packet of an access unit can hold: a unit
// that comes before the slices, or the first macroblock of the picture
// (ISO/IEC 14496-10 section 7.4.1.2.3).
func (d *h264Depacketizer) begins(pkt *rtp.Packet) bool {
	nalu := pkt.Payload
	if len(nalu) < 3 {
		return false
	}
	header, body := nalu[0], nalu[1:]
	switch h264.NALUType(header & 0x1f) {
	case h264.NALUTypeSTAPA:
		if len(nalu) < 5 {
			return false
		}
		header, body = nalu[3], nalu[4:]
	case h264.NALUTypeFUA:
		if nalu[1]&0x80 == 0 {
			return false
		}
		header, body = nalu[1], nalu[2:]
	}
	switch h264.NALUType(header & 0x1f) {
	case h264.NALUTypeSEI, h264.NALUTypeSPS, h264.NALUTypePPS, h264.NALUTypeAccessUnitDelimiter:
		return true
	case h264.NALUTypeNonIDR, h264.NALUTypeDataPartitionA, h264.NALUTypeIDR:
		return len(body) > 0 && body[0]&0x80 != 0 // first_mb_in_slice is 0
	}
	return false
}

func (d *h264Depacketizer) push(pkt *rtp.Packet) ([]unit, error) {
	nalus, err := d.dec.Decode(pkt)
	switch {
	case errors.Is(err, rtph264.ErrMorePacketsNeeded):
		if !d.open {
			d.open, d.openTS = true, pkt.Timestamp
		}
		return nil, nil
	case errors.Is(err, rtph264.ErrNonStartingPacketAndNoPrevious):
		return nil, nil // joined in the middle of a frame
	case err != nil:
		return nil, err
	}
	ts := pkt.Timestamp
	if d.open && d.openTS != ts {
		// A publisher that sets no markers: the packet ended the unit before it.
		ts, d.openTS = d.openTS, ts
	} else {
		d.open = false
	}
	return d.assemble(nalus, ts)
}

func (d *h264Depacketizer) assemble(nalus [][]byte, ts uint32) ([]unit, error) {
	d.bad = nil
	var picture, key, renewed bool
	for _, n := range nalus {
		if len(n) < 2 {
			continue
		}
		switch typ := h264.NALUType(n[0] & 0x1f); {
		case typ == h264.NALUTypeSPS || typ == h264.NALUTypePPS:
			renewed = d.put(n) || renewed
		case typ == h264.NALUTypeIDR:
			picture, key = true, true
		case typ >= h264.NALUTypeNonIDR && typ <= h264.NALUTypeDataPartitionC:
			picture = true
		case typ == h264.NALUTypeSEI:
			key = key || hasRecoveryPoint(n[1:])
		}
	}
	if renewed {
		d.renew()
	}
	switch {
	case !picture:
		return nil, d.bad // parameter sets sent by themselves
	case d.cur.Params == nil:
		return nil, errNotYet
	}
	d.out[0] = unit{track: d.cur, rtp: ts, key: key, payload: d.payload(nalus, key || renewed)}
	return d.out[:], d.bad
}

// payload puts the parameter sets in force in front, where wanted, and leaves out
// those in between and what carries no picture.
func (d *h264Depacketizer) payload(nalus [][]byte, withSets bool) [][]byte {
	var sets [][]byte
	if withSets {
		sets = d.sets.nalus
	}
	out := make([][]byte, 0, len(sets)+len(nalus))
	out = append(out, sets...)
	for _, n := range nalus {
		if len(n) < 2 {
			continue
		}
		switch h264.NALUType(n[0] & 0x1f) {
		case h264.NALUTypeSPS, h264.NALUTypePPS, h264.NALUTypeAccessUnitDelimiter,
			h264.NALUTypeEndOfSequence, h264.NALUTypeEndOfStream, h264.NALUTypeFillerData:
		default:
			out = append(out, n)
		}
	}
	return out
}

// put takes a parameter set; one that is broken is left out and remembered in bad.
func (d *h264Depacketizer) put(n []byte) (changed bool) {
	if len(n) < 2 || d.sets.has(n) {
		return false
	}
	var id uint32
	var err error
	if h264.NALUType(n[0]&0x1f) == h264.NALUTypeSPS {
		var sps h264.SPS
		err = sps.Unmarshal(n)
		id = sps.ID
	} else {
		id, err = golomb(n[1:])
	}
	if err == nil {
		changed, err = d.sets.put(n[0]&0x1f, id, n)
	}
	if err != nil {
		d.bad = fmt.Errorf("broken parameter set: %w", err)
	}
	return changed
}

// renew makes the track of the parameter sets in force.
func (d *h264Depacketizer) renew() {
	params := d.sets.params()
	if params == nil {
		return
	}
	var sps h264.SPS
	if sps.Unmarshal(params[0]) != nil {
		return // put has parsed it before
	}
	d.cur = withParams(d.cur, func(t *fragments.Track) {
		t.Params = params
		t.Width, t.Height = sps.Width(), sps.Height()
		t.Reorder = h264Reorder(&sps)
	})
}

// h264Reorder returns max_num_reorder_frames where the stream gives it or where
// it follows from the profile (ISO/IEC 14496-10 sections E.2.1, A.2.1), else -1.
func h264Reorder(sps *h264.SPS) int {
	const baseline = 66
	switch {
	case sps.PicOrderCntType == 2 || sps.ProfileIdc == baseline:
		return 0
	case sps.VUI != nil && sps.VUI.BitstreamRestriction != nil && sps.VUI.BitstreamRestriction.MaxNumReorderFrames <= 16:
		return int(sps.VUI.BitstreamRestriction.MaxNumReorderFrames)
	}
	return -1
}
