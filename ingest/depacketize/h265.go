package depacketize

import (
	"errors"
	"fmt"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph265"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"
	"github.com/pion/rtp"

	"github.com/kineweir/kineweir/fragments"
)

type h265Depacketizer struct {
	format *format.H265
	dec    *rtph265.Decoder
	cur    *fragments.Track
	sets   paramSets
	bad    error // of a parameter set in the access unit being assembled
	out    [1]unit
}

func newH265(id int, f *format.H265) (depacketizer, error) {
	dec, err := f.CreateDecoder()
	if err != nil {
		return nil, err
	}
	d := &h265Depacketizer{
		format: f, dec: dec,
		cur:  &fragments.Track{ID: id, Codec: fragments.H265, TimeScale: 90000, Reorder: -1},
		sets: paramSets{kinds: []byte{byte(h265.NALUType_VPS_NUT), byte(h265.NALUType_SPS_NUT), byte(h265.NALUType_PPS_NUT)}},
	}
	vps, sps, pps := f.SafeParams()
	changed := d.put(vps)
	changed = d.put(sps) || changed
	if d.put(pps) || changed {
		d.renew()
	}
	return d, nil
}

func (d *h265Depacketizer) track() *fragments.Track { return d.cur }

func (d *h265Depacketizer) reset() { d.dec, _ = d.format.CreateDecoder() } // succeeded before

func h265Type(header byte) h265.NALUType { return h265.NALUType(header >> 1 & 0x3f) }

// begins looks for what only the first packet of an access unit can hold
// (ITU-T H.265 section 7.4.2.4.4).
func (d *h265Depacketizer) begins(pkt *rtp.Packet) bool {
	nalu := pkt.Payload
	if len(nalu) < 4 {
		return false
	}
	typ, body := h265Type(nalu[0]), nalu[2:]
	switch typ {
	case h265.NALUType_AggregationUnit:
		if len(nalu) < 7 {
			return false
		}
		typ, body = h265Type(nalu[4]), nalu[6:]
	case h265.NALUType_FragmentationUnit:
		if nalu[2]&0x80 == 0 {
			return false
		}
		typ, body = h265.NALUType(nalu[2]&0x3f), nalu[3:]
	}
	switch {
	case typ <= h265.NALUType_RSV_IRAP_VCL23:
		return len(body) > 0 && body[0]&0x80 != 0 // first_slice_segment_in_pic_flag
	case typ >= h265.NALUType_VPS_NUT && typ <= h265.NALUType_AUD_NUT, typ == h265.NALUType_PREFIX_SEI_NUT:
		return true
	}
	return false
}

func (d *h265Depacketizer) push(pkt *rtp.Packet) ([]unit, error) {
	nalus, err := d.dec.Decode(pkt)
	switch {
	case errors.Is(err, rtph265.ErrMorePacketsNeeded), errors.Is(err, rtph265.ErrNonStartingPacketAndNoPrevious):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return d.assemble(nalus, pkt.Timestamp)
}

func (d *h265Depacketizer) assemble(nalus [][]byte, ts uint32) ([]unit, error) {
	d.bad = nil
	var picture, key, renewed bool
	for _, n := range nalus {
		if len(n) < 3 {
			continue
		}
		switch typ := h265Type(n[0]); {
		case typ >= h265.NALUType_BLA_W_LP && typ <= h265.NALUType_RSV_IRAP_VCL23: // BLA, IDR, CRA
			picture, key = true, true
		case typ < h265.NALUType_VPS_NUT:
			picture = true
		case typ <= h265.NALUType_PPS_NUT:
			renewed = d.put(n) || renewed
		case typ == h265.NALUType_PREFIX_SEI_NUT:
			key = key || hasRecoveryPoint(n[2:])
		}
	}
	if renewed {
		d.renew()
	}
	switch {
	case !picture:
		return nil, d.bad
	case d.cur.Params == nil:
		return nil, errNotYet
	}
	d.out[0] = unit{track: d.cur, rtp: ts, key: key, payload: d.payload(nalus, key || renewed)}
	return d.out[:], d.bad
}

// payload is as that of H264.
func (d *h265Depacketizer) payload(nalus [][]byte, withSets bool) [][]byte {
	var sets [][]byte
	if withSets {
		sets = d.sets.nalus
	}
	out := make([][]byte, 0, len(sets)+len(nalus))
	out = append(out, sets...)
	for _, n := range nalus {
		if len(n) < 3 {
			continue
		}
		if typ := h265Type(n[0]); typ < h265.NALUType_VPS_NUT || typ > h265.NALUType_FD_NUT {
			out = append(out, n)
		}
	}
	return out
}

func (d *h265Depacketizer) put(n []byte) (changed bool) {
	if len(n) < 3 || d.sets.has(n) {
		return false
	}
	typ := h265Type(n[0])
	var id uint32
	var err error
	switch typ {
	case h265.NALUType_VPS_NUT:
		id = uint32(n[2] >> 4)
	case h265.NALUType_SPS_NUT:
		var sps h265.SPS
		err = sps.Unmarshal(n)
		id = uint32(sps.ID)
	default:
		id, err = golomb(n[2:])
	}
	if err == nil {
		changed, err = d.sets.put(byte(typ), id, n)
	}
	if err != nil {
		d.bad = fmt.Errorf("broken parameter set: %w", err)
	}
	return changed
}

func (d *h265Depacketizer) renew() {
	params := d.sets.params()
	if params == nil {
		return
	}
	var sps h265.SPS
	if sps.Unmarshal(params[1]) != nil {
		return // put has parsed it before
	}
	d.cur = withParams(d.cur, func(t *fragments.Track) {
		t.Params = params
		t.Width, t.Height = sps.Width(), sps.Height()
		t.Reorder = -1
		if n := len(sps.MaxNumReorderPics); n > 0 && sps.MaxNumReorderPics[n-1] <= 16 {
			t.Reorder = int(sps.MaxNumReorderPics[n-1]) // of the highest temporal layer
		}
	})
}
