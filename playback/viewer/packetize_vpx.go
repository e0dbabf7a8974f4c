package viewer

import (
	"encoding/binary"

	"github.com/kineweir/kineweir/fragments"
)

// packetizeVP8 cuts a frame (RFC 7741 section 4.2). There is no picture ID:
// receivers then go by sequence numbers, so that all viewers can share the
// descriptor whatever each has missed.
func packetizeVP8(frame []byte) []packet {
	const descriptor = 1
	var out []packet
	buf := make([]byte, 0, len(frame)+descriptor*(len(frame)/(maxPayload-descriptor)+1))
	chunks(len(frame), maxPayload-descriptor, func(from, to int) {
		var head byte
		if from == 0 {
			head = 0x10 // S: start of partition 0
		}
		at := len(buf)
		buf = append(buf, head)
		buf = append(buf, frame[from:to]...)
		out = append(out, packet{payload: buf[at:len(buf):len(buf)]})
	})
	return out
}

// Bits of the VP9 payload descriptor (RFC 9628 section 4.2).
const (
	vp9Predicted = 0x40 // P
	vp9Begin     = 0x08 // B
	vp9End       = 0x04 // E
	vp9Structure = 0x02 // V
)

// packetizeVP9 cuts a frame of one spatial layer, without picture ID like
// [packetizeVP8]. Key frames tell their size in the scalability structure.
func packetizeVP9(au *fragments.AccessUnit) []packet {
	frame := au.Payload[0]
	var structure []byte
	var base byte = vp9Predicted
	if au.Key {
		base = 0
		if au.Track.Width > 0 && au.Track.Height > 0 {
			// N_S = 0 (one layer), Y = 1 (sizes follow), G = 0 (no groups).
			structure = binary.BigEndian.AppendUint16([]byte{0x10}, uint16(au.Track.Width))
			structure = binary.BigEndian.AppendUint16(structure, uint16(au.Track.Height))
		}
	}
	most := maxPayload - 1 - len(structure)
	var out []packet
	buf := make([]byte, 0, len(frame)+len(structure)+len(frame)/most+1)
	chunks(len(frame), most, func(from, to int) {
		head := base
		if from == 0 {
			head |= vp9Begin
			if structure != nil {
				head |= vp9Structure
			}
		}
		if to == len(frame) {
			head |= vp9End
		}
		at := len(buf)
		buf = append(buf, head)
		if from == 0 {
			buf = append(buf, structure...)
		}
		buf = append(buf, frame[from:to]...)
		out = append(out, packet{payload: buf[at:len(buf):len(buf)]})
	})
	return out
}
