package depacketize

import (
	"errors"
	"fmt"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"

	"github.com/kineweir/kineweir/fragments"
)

// unit is an access unit, not yet in time.
type unit struct {
	track    *fragments.Track
	rtp      uint32 // time stamp of the packet it began in
	offset   int64  // ticks after that time stamp
	duration int64  // ticks; 0 when only the next unit tells
	key      bool
	payload  [][]byte
}

// depacketizer makes units of the packets of one track.
type depacketizer interface {
	// push takes the next packet; a packet was never lost in between, or reset was
	// called. The units are good until the next call, their payload for ever. After
	// an error the rest of the unit in progress is worthless.
	push(pkt *rtp.Packet) ([]unit, error)
	// begins reports whether pkt certainly is the first of a unit.
	begins(pkt *rtp.Packet) bool
	// reset forgets the unit in progress.
	reset()
	// track is the configuration in force.
	track() *fragments.Track
}

// errNotYet is what push returns for units that cannot be decoded because the
// parameters of the track have not come yet.
var errNotYet = errors.New("parameters of the track have not come yet")

// newDepacketizer returns the depacketizer of a format; clock is the rate of its
// time stamps by the session description, 0 when that does not say.
func newDepacketizer(id int, f format.Format, clock int) (depacketizer, error) {
	if clock <= 0 {
		clock = f.ClockRate()
	}
	if clock <= 0 || clock > 1<<30 {
		return nil, fmt.Errorf("clock rate %d", clock)
	}
	switch f := f.(type) {
	case *format.H264:
		return newH264(id, f)
	case *format.H265:
		return newH265(id, f)
	case *format.AV1:
		return newAV1(id, f)
	case *format.VP8:
		return newVP8(id, f)
	case *format.VP9:
		return newVP9(id, f)
	case *format.MPEG4Audio:
		return newAAC(id, f, clock)
	case *format.MPEG4AudioLATM:
		return newLATM(id, f, clock)
	case *format.Opus:
		return newOpus(id, f), nil
	case *format.G711:
		return newG711(id, f), nil
	case *format.LPCM:
		return newLPCM(id, f)
	case *format.MPEG1Audio:
		return newMP3(id), nil
	}
	return nil, errors.New("codec not known")
}

// ParseFormat returns the format that lines of a session description give to a
// payload type (RFC 8866 section 6.6): media is "audio" or "video", rtpmap as
// "H264/90000", fmtp as "packetization-mode=1" or "". The number of the payload
// type does not matter. It fails for what [Receiver.Add] would refuse.
func ParseFormat(media, rtpmap, fmtp string) (f format.Format, err error) {
	defer func() {
		if p := recover(); p != nil {
			f, err = nil, fmt.Errorf("format cannot be read: %v", p)
		}
	}()
	const dynamic = "96" // the library takes the names of codecs from these alone
	f, err = format.Unmarshal(&sdp.MediaDescription{
		MediaName:  sdp.MediaName{Media: media, Formats: []string{dynamic}},
		Attributes: []sdp.Attribute{{Key: "rtpmap", Value: dynamic + " " + rtpmap}, {Key: "fmtp", Value: dynamic + " " + fmtp}},
	}, dynamic)
	if err != nil {
		return nil, err
	}
	_, err = newDepacketizer(1, f, 0)
	return f, err
}

// Name is what people call a format.
func Name(f format.Format) string {
	if g, ok := f.(*format.Generic); ok {
		if g.RTPMa != "" {
			return g.RTPMa
		}
		return fmt.Sprintf("payload type %d", g.PayloadTyp)
	}
	return f.Codec()
}

// withParams returns a copy of t with other parameters. A track that has been
// seen outside is never changed.
func withParams(t *fragments.Track, change func(t *fragments.Track)) *fragments.Track {
	c := *t
	change(&c)
	return &c
}
