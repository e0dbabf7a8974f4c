package viewer

import "encoding/binary"

// Bits of the AV1 aggregation header (AV1 RTP payload format section 4.4).
const (
	av1Continues  = 0x80 // Z: the first element continues one of the packet before
	av1Unfinished = 0x40 // Y: the last element goes on in the next packet
	av1Sequence   = 0x08 // N: first packet of a coded video sequence
)

// packetizeAV1 cuts a temporal unit. Every OBU element has its length before
// it (W = 0).
func packetizeAV1(obus [][]byte, key bool) []packet {
	var out []packet
	cur := make([]byte, 1, maxPayload)
	if key {
		cur[0] = av1Sequence
	}
	for _, obu := range obus {
		for rest := obu; len(rest) > 0; {
			// Two bytes are enough for the length of anything that fits.
			room := maxPayload - len(cur) - 2
			if room <= 0 {
				out = append(out, packet{payload: cur})
				cur = make([]byte, 1, maxPayload)
				continue
			}
			n := min(room, len(rest))
			cur = binary.AppendUvarint(cur, uint64(n))
			cur = append(cur, rest[:n]...)
			if rest = rest[n:]; len(rest) > 0 {
				cur[0] |= av1Unfinished
				out = append(out, packet{payload: cur})
				cur = make([]byte, 1, maxPayload)
				cur[0] = av1Continues
			}
		}
	}
	if len(cur) > 1 {
		out = append(out, packet{payload: cur})
	}
	return out
}
