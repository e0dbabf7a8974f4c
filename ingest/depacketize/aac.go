package depacketize

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpfragmented"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpmpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/pion/rtp"

	"github.com/kineweir/kineweir/fragments"
)

// aacTrack keeps the configuration of an AAC track and makes units of frames.
type aacTrack struct {
	cur    *fragments.Track
	config mpeg4audio.AudioSpecificConfig
	out    []unit
}

// set takes a configuration and reports whether it can be used.
func (a *aacTrack) set(c *mpeg4audio.AudioSpecificConfig) error {
	asc, err := c.Marshal()
	if err != nil {
		return fmt.Errorf("broken AAC configuration: %w", err)
	}
	if c.SampleRate <= 0 {
		return errors.New("AAC configuration without sample rate")
	}
	if len(a.cur.Params) == 1 && bytes.Equal(a.cur.Params[0], asc) {
		return nil
	}
	a.config = *c
	a.cur = withParams(a.cur, func(t *fragments.Track) {
		t.Params = [][]byte{asc}
		t.SampleRate, t.Channels = c.SampleRate, aacChannels(c)
	})
	return nil
}

// aacChannels returns the channels by the configuration, 0 when it leaves them to
// the stream (ISO/IEC 14496-3 table 1.19).
func aacChannels(c *mpeg4audio.AudioSpecificConfig) int {
	if c.ChannelConfig == 7 {
		return 8
	}
	return int(c.ChannelConfig)
}

// units gives each frame its place; the time stamp of a packet is that of its
// first frame. The clock may run at the rate after spectral band replication,
// twice the rate of the frames.
func (a *aacTrack) units(frames [][]byte, rtp uint32) []unit {
	samples := int64(1024)
	if a.config.FrameLengthFlag {
		samples = 960
	}
	ticks := samples * int64(a.cur.TimeScale) / int64(a.config.SampleRate)
	a.out = a.out[:0]
	for i, f := range frames {
		if len(f) == 0 {
			continue
		}
		if a.cur.Channels == 0 {
			a.countChannels(f)
		}
		a.out = append(a.out, unit{
			track: a.cur, rtp: rtp, offset: int64(i) * ticks, duration: ticks, key: true, payload: [][]byte{f},
		})
	}
	return a.out
}

// countChannels reads the channels from a frame, where the configuration leaves
// them to the stream (channel configuration 0).
func (a *aacTrack) countChannels(frame []byte) {
	if n, err := mpeg4audio.CountChannelsFromRawDataBlock(frame); err == nil && n > 0 {
		a.cur = withParams(a.cur, func(t *fragments.Track) { t.Channels = n })
	}
}

type aacDepacketizer struct {
	format *format.MPEG4Audio
	dec    *rtpmpeg4audio.Decoder
	aacTrack
}

func newAAC(id int, f *format.MPEG4Audio, clock int) (depacketizer, error) {
	dec, err := f.CreateDecoder()
	if err != nil {
		return nil, err
	}
	if f.SizeLength > 32 || f.IndexLength > 32 || f.IndexDeltaLength > 32 {
		return nil, errors.New("AAC with lengths of more than 32 bits")
	}
	d := &aacDepacketizer{format: f, dec: dec}
	d.cur = &fragments.Track{ID: id, Codec: fragments.AAC, TimeScale: uint32(clock)}
	return d, d.set(f.Config)
}

func (d *aacDepacketizer) track() *fragments.Track { return d.cur }

func (d *aacDepacketizer) reset() { d.dec, _ = d.format.CreateDecoder() } // succeeded before

// begins: a packet holds whole frames (RFC 3640 section 3.3.6) unless they are
// longer than a packet, which takes more than 500 kbit/s; nothing would tell then.
func (d *aacDepacketizer) begins(*rtp.Packet) bool { return true }

func (d *aacDepacketizer) push(pkt *rtp.Packet) ([]unit, error) {
	frames, err := d.dec.Decode(pkt)
	switch {
	case errors.Is(err, rtpmpeg4audio.ErrMorePacketsNeeded):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return d.units(frames, pkt.Timestamp), nil
}

// latmDepacketizer takes AAC in LATM (RFC 6416), whose configuration is in the
// description or in the stream.
type latmDepacketizer struct {
	format *format.MPEG4AudioLATM
	dec    *rtpfragmented.Decoder
	mux    *mpeg4audio.StreamMuxConfig
	aacTrack
}

func newLATM(id int, f *format.MPEG4AudioLATM, clock int) (depacketizer, error) {
	dec, err := f.CreateDecoder()
	if err != nil {
		return nil, err
	}
	d := &latmDepacketizer{format: f, dec: dec}
	d.cur = &fragments.Track{ID: id, Codec: fragments.AAC, TimeScale: uint32(clock)}
	if f.StreamMuxConfig != nil {
		return d, d.setMux(f.StreamMuxConfig)
	}
	return d, nil
}

func (d *latmDepacketizer) setMux(m *mpeg4audio.StreamMuxConfig) error {
	if len(m.Programs) == 0 || len(m.Programs[0].Layers) == 0 || m.Programs[0].Layers[0].AudioSpecificConfig == nil {
		return errors.New("LATM configuration without a layer")
	}
	if err := d.set(m.Programs[0].Layers[0].AudioSpecificConfig); err != nil {
		return err
	}
	d.mux = m
	return nil
}

func (d *latmDepacketizer) track() *fragments.Track { return d.cur }

func (d *latmDepacketizer) reset() { d.dec, _ = d.format.CreateDecoder() } // succeeded before

func (d *latmDepacketizer) begins(*rtp.Packet) bool { return false } // nothing in the packet tells

func (d *latmDepacketizer) push(pkt *rtp.Packet) ([]unit, error) {
	element, err := d.dec.Decode(pkt)
	switch {
	case errors.Is(err, rtpfragmented.ErrMorePacketsNeeded):
		return nil, nil
	case err != nil:
		return nil, err
	}
	if d.format.CPresent && d.mux == nil && len(element) > 0 && element[0]&0x80 != 0 {
		return nil, errNotYet // useSameStreamMux, but there was none
	}
	e := mpeg4audio.AudioMuxElement{MuxConfigPresent: d.format.CPresent, StreamMuxConfig: d.mux}
	if err := e.Unmarshal(element); err != nil {
		return nil, fmt.Errorf("broken LATM element: %w", err)
	}
	if err := d.setMux(e.StreamMuxConfig); err != nil {
		return nil, err
	}
	frames := make([][]byte, 0, len(e.Payloads))
	for _, sub := range e.Payloads {
		frames = append(frames, sub[0][0])
	}
	return d.units(frames, pkt.Timestamp), nil
}
