package viewer

import (
	"errors"
	"fmt"

	"github.com/kineweir/kineweir/fragments"
)

// maxPayload is how many bytes of RTP payload a packet has at most: 1200 bytes
// of packet, which every path carries, less the RTP header with two extensions
// (12 + 4 + 16), the authentication tag of SRTP (16) and the two bytes by which
// a retransmission is longer (RFC 4588 section 4).
const maxPayload = 1200 - 12 - 20 - 16 - 2

// packetize cuts an access unit into RTP payloads. They may share memory with
// au, which nobody changes.
func packetize(au *fragments.AccessUnit) ([]packet, error) {
	if au.Size() == 0 {
		return nil, errors.New("empty access unit")
	}
	switch au.Track.Codec {
	case fragments.H264:
		return packetizeH264(au.Payload), nil
	case fragments.H265:
		return packetizeH265(au.Payload), nil
	case fragments.AV1:
		return packetizeAV1(au.Payload, au.Key), nil
	case fragments.VP8:
		return packetizeVP8(au.Payload[0]), nil
	case fragments.VP9:
		return packetizeVP9(au), nil
	case fragments.Opus:
		if len(au.Payload[0]) > maxPayload {
			return nil, fmt.Errorf("packet of Opus has %d bytes: one of WebRTC carries %d", len(au.Payload[0]), maxPayload)
		}
		return []packet{{payload: au.Payload[0]}}, nil
	case fragments.PCMU, fragments.PCMA:
		return packetizeG711(au.Payload[0]), nil
	}
	return nil, fmt.Errorf("WebRTC does not carry %s", au.Track.Codec)
}

// packetizeG711 cuts samples of one byte (RFC 3551 section 4.5.14).
func packetizeG711(samples []byte) []packet {
	const most = 960 // samples, 120 ms, for small jitter buffers
	var out []packet
	for at := 0; at < len(samples); at += most {
		out = append(out, packet{payload: samples[at:min(at+most, len(samples))], offset: uint32(at)})
	}
	return out
}

// chunks cuts n bytes into pieces of at most most bytes and nearly equal
// length, so that no packet is a sliver; f gets the bounds of each.
func chunks(n, most int, f func(from, to int)) {
	count := (n + most - 1) / most
	for i := range count {
		f(n*i/count, n*(i+1)/count)
	}
}
