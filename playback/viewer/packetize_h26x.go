package viewer

import "encoding/binary"

// Packets of H264 (RFC 6184 sections 5.7.1 and 5.8) and H265 (RFC 7798 sections
// 4.4.2 and 4.4.3).
const (
	h264STAPA = 24
	h264FUA   = 28
	h265AP    = 48
	h265FU    = 49
)

func packetizeH264(nalus [][]byte) []packet {
	return packetizeNALUs(nalus, 1, aggregateH264, fragmentH264)
}

func packetizeH265(nalus [][]byte) []packet {
	return packetizeNALUs(nalus, 2, aggregateH265, fragmentH265)
}

// packetizeNALUs puts neighbours that are small together, those that fit alone
// into packets of their own, and cuts what is too large.
func packetizeNALUs(nalus [][]byte, header int, aggregate func([][]byte, int) []byte, fragment func([]byte) []packet) []packet {
	var out []packet
	var group [][]byte
	size := header
	flush := func() {
		switch len(group) {
		case 0:
			return
		case 1:
			out = append(out, packet{payload: group[0]})
		default:
			out = append(out, packet{payload: aggregate(group, size)})
		}
		group, size = group[:0], header
	}
	for _, n := range nalus {
		if len(n) < header {
			continue // not a NAL unit
		}
		if size+2+len(n) > maxPayload {
			flush()
		}
		if len(n) > maxPayload {
			out = append(out, fragment(n)...)
			continue
		}
		group = append(group, n)
		size += 2 + len(n)
	}
	flush()
	return out
}

func aggregateH264(nalus [][]byte, size int) []byte {
	var ref, forbidden byte // the highest of all (RFC 6184 section 5.7.1)
	b := make([]byte, 1, size)
	for _, n := range nalus {
		ref = max(ref, n[0]&0x60)
		forbidden |= n[0] & 0x80
		b = binary.BigEndian.AppendUint16(b, uint16(len(n)))
		b = append(b, n...)
	}
	b[0] = forbidden | ref | h264STAPA
	return b
}

func fragmentH264(n []byte) []packet {
	body := n[1:]
	var out []packet
	buf := make([]byte, 0, len(body)+2*(len(body)/(maxPayload-2)+1))
	chunks(len(body), maxPayload-2, func(from, to int) {
		head := n[0] & 0x1f
		if from == 0 {
			head |= 0x80
		}
		if to == len(body) {
			head |= 0x40
		}
		at := len(buf)
		buf = append(buf, n[0]&0xe0|h264FUA, head)
		buf = append(buf, body[from:to]...)
		out = append(out, packet{payload: buf[at:len(buf):len(buf)]})
	})
	return out
}

func aggregateH265(nalus [][]byte, size int) []byte {
	// The lowest layer and temporal identifiers of all (RFC 7798 section 4.4.2).
	layer, tid, forbidden := uint16(0x3f), uint16(7), uint16(0)
	b := make([]byte, 2, size)
	for _, n := range nalus {
		h := binary.BigEndian.Uint16(n)
		layer, tid, forbidden = min(layer, h>>3&0x3f), min(tid, h&7), forbidden|h&0x8000
		b = binary.BigEndian.AppendUint16(b, uint16(len(n)))
		b = append(b, n...)
	}
	binary.BigEndian.PutUint16(b, forbidden|h265AP<<9|layer<<3|tid)
	return b
}

func fragmentH265(n []byte) []packet {
	body := n[2:]
	var out []packet
	buf := make([]byte, 0, len(body)+3*(len(body)/(maxPayload-3)+1))
	chunks(len(body), maxPayload-3, func(from, to int) {
		head := n[0] >> 1 & 0x3f
		if from == 0 {
			head |= 0x80
		}
		if to == len(body) {
			head |= 0x40
		}
		at := len(buf)
		buf = append(buf, n[0]&0x81|h265FU<<1, n[1], head)
		buf = append(buf, body[from:to]...)
		out = append(out, packet{payload: buf[at:len(buf):len(buf)]})
	})
	return out
}
