package rtsp

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest/depacketize"
)

// UnsupportedError names the formats of a description that are not known.
type UnsupportedError struct {
	Formats []string
}

// Error names the formats.
func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("no track of a known codec: offered %q; known are H264 H265 AV1 VP8 VP9 AAC Opus G711 LPCM MP3", e.Formats)
}

// receiver is a [depacketize.Receiver] whose tracks are those of a session
// description.
type receiver struct {
	*depacketize.Receiver
	tracks []receiverTrack
}

// receiverTrack is one track of a receiver.
type receiverTrack struct {
	media  *description.Media
	format format.Format
	stream *depacketize.Stream
}

type receiverOptions struct {
	Description *description.Session
	Body        []byte // the description as it came; may be nil
	Log         *slog.Logger
	Open        func(tracks []*fragments.Track) (Session, error)
	MaxSkew     time.Duration
}

// newReceiver chooses the first known format of each track; what is not known is
// refused by name in the log, and all of it in an *UnsupportedError when nothing
// is left.
func newReceiver(o receiverOptions) (*receiver, error) {
	r := &receiver{Receiver: depacketize.New(depacketize.Options{Log: o.Log, Now: time.Now, Open: o.Open, MaxSkew: o.MaxSkew})}
	var refused []string
	for i, m := range o.Description.Medias {
		if m.IsBackChannel {
			continue
		}
		taken := false
		for _, f := range m.Formats {
			if taken {
				continue
			}
			stream, err := r.Add(f, rtpClock(o.Body, i, f.PayloadType()))
			if err != nil {
				refused = append(refused, fmt.Sprintf("%s (%v)", depacketize.Name(f), err))
				continue
			}
			taken = true
			r.tracks = append(r.tracks, receiverTrack{media: m, format: f, stream: stream})
		}
	}
	if len(r.tracks) == 0 {
		return nil, &UnsupportedError{Formats: refused}
	}
	if len(refused) > 0 {
		o.Log.Warn("tracks refused", "formats", refused)
	}
	return r, nil
}

func (t *receiverTrack) onRTP(pkt *rtp.Packet) { t.stream.Packet(pkt) }

// onRTCP does not compare the SSRC: a media has one track, and cameras are known
// to report under another SSRC than they send.
func (t *receiverTrack) onRTCP(pkt rtcp.Packet) {
	if sr, ok := pkt.(*rtcp.SenderReport); ok {
		t.stream.Report(sr)
	}
}
