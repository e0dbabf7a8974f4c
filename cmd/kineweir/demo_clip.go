package main

import (
	"bytes"
	"cmp"
	"embed"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/pmp4"

	"github.com/kineweir/kineweir/fragments"
)

// demoFiles are the clips that the demo plays; demo/draw.go makes them.
//
//go:embed demo/*.mp4 demo/*.pcmu
var demoFiles embed.FS

// loop is a stretch of video that ends where it began, in picture and sound,
// so that it can be played round and round as one endless stream.
type loop struct {
	tracks []*fragments.Track
	length time.Duration
	units  []clipUnit // in the order in which a camera sends them
}

type clipUnit struct {
	at       time.Duration // when a camera would send it, from the start of the clip
	track    int           // index of loop.tracks
	pts, dts int64         // ticks of the track
	key      bool
	payload  [][]byte
}

// unit returns the i-th access unit of the endless stream that begins at start,
// and when it is due.
func (c *loop) unit(i int, start time.Time) (au *fragments.AccessUnit, due time.Time) {
	round, u := i/len(c.units), &c.units[i%len(c.units)]
	track := c.tracks[u.track]
	begin := start.Add(time.Duration(round) * c.length)
	shift := int64(round) * ticks(c.length, track.TimeScale)
	due = begin.Add(u.at)
	return &fragments.AccessUnit{
		Track:   track,
		PTS:     u.pts + shift,
		DTS:     u.dts + shift,
		Key:     u.key,
		Payload: u.payload,
		Capture: fragments.ProducerTime(begin.Add(time.Duration(u.pts) * time.Second / time.Duration(track.TimeScale))),
		Source:  fragments.FromReport,
		Arrival: fragments.ServerTime(due),
	}, due
}

// ticks converts a duration that is a whole number of ticks.
func ticks(d time.Duration, scale uint32) int64 {
	return int64(d) * int64(scale) / int64(time.Second)
}

// readClip reads an MP4 file with one H.264 track and at most one AAC track.
func readClip(mp4 []byte) (*loop, error) {
	var p pmp4.Presentation
	if err := p.Unmarshal(bytes.NewReader(mp4)); err != nil {
		return nil, fmt.Errorf("read clip: %w", err)
	}
	c := &loop{}
	for i, t := range p.Tracks {
		if err := c.addTrack(i, t); err != nil {
			return nil, fmt.Errorf("read clip: track %d: %w", t.ID, err)
		}
	}
	if len(c.tracks) == 0 {
		return nil, errors.New("read clip: no tracks")
	}
	c.sort()
	return c, nil
}

// addPCMU adds a track of G.711 mu-law at 8 kHz, in packets of 20 ms.
func (c *loop) addPCMU(sound []byte) error {
	const rate, packet = 8000, 160
	if int64(len(sound)) != ticks(c.length, rate) || len(sound)%packet != 0 {
		return fmt.Errorf("sound has %d samples, the clip lasts %s", len(sound), c.length)
	}
	n := len(c.tracks)
	c.tracks = append(c.tracks, &fragments.Track{ID: n + 1, Codec: fragments.PCMU, TimeScale: rate, SampleRate: rate, Channels: 1})
	for i := 0; i < len(sound); i += packet {
		at := time.Duration(i) * time.Second / rate
		c.units = append(c.units, clipUnit{at, n, int64(i), int64(i), true, [][]byte{sound[i : i+packet]}})
	}
	c.sort()
	return nil
}

func (c *loop) sort() {
	slices.SortStableFunc(c.units, func(a, b clipUnit) int { return cmp.Compare(a.at, b.at) })
}

// addTrack adds the samples of one track and checks that it lasts as long as
// those before.
func (c *loop) addTrack(index int, t *pmp4.Track) error {
	track := &fragments.Track{ID: index + 1}
	switch codec := t.Codec.(type) {
	case *codecs.H264:
		var sps h264.SPS
		if err := sps.Unmarshal(codec.SPS); err != nil {
			return fmt.Errorf("sps: %w", err)
		}
		track.Codec, track.TimeScale, track.Params = fragments.H264, 90000, [][]byte{codec.SPS, codec.PPS}
		track.Width, track.Height, track.Reorder = sps.Width(), sps.Height(), -1
	case *codecs.MPEG4Audio:
		config, err := codec.Config.Marshal()
		if err != nil {
			return fmt.Errorf("audio config: %w", err)
		}
		track.Codec, track.TimeScale, track.Params = fragments.AAC, t.TimeScale, [][]byte{config}
		track.SampleRate, track.Channels = codec.Config.SampleRate, int(codec.Config.ChannelConfig) // the same up to 6
	default:
		return fmt.Errorf("codec %T is not one a clip may have", codec)
	}
	c.tracks = append(c.tracks, track)
	length, err := c.addSamples(len(c.tracks)-1, t)
	if err != nil {
		return err
	}
	if c.length != 0 && c.length != length {
		return fmt.Errorf("lasts %s, the one before %s", length, c.length)
	}
	c.length = length
	return nil
}

func (c *loop) addSamples(index int, t *pmp4.Track) (length time.Duration, err error) {
	track := c.tracks[index]
	rescale := func(v int64) int64 { return v * int64(track.TimeScale) / int64(t.TimeScale) }
	// The first picture shown is at 0; with B-frames it is sent before that.
	dts, earliest := int64(0), int64(t.Samples[0].PTSOffset)
	for _, s := range t.Samples {
		payload, err := samplePayload(track, s)
		if err != nil {
			return 0, err
		}
		at := time.Duration(dts) * time.Second / time.Duration(t.TimeScale)
		c.units = append(c.units, clipUnit{at, index, rescale(dts + int64(s.PTSOffset) - earliest), rescale(dts - earliest), !s.IsNonSyncSample, payload})
		dts += int64(s.Duration)
	}
	return time.Duration(dts) * time.Second / time.Duration(t.TimeScale), nil
}

// samplePayload returns a sample as access units hold it: NAL units, with the
// parameter sets in front of a key frame, or the frame of audio.
func samplePayload(track *fragments.Track, s *pmp4.Sample) ([][]byte, error) {
	data, err := s.GetPayload()
	if err != nil {
		return nil, fmt.Errorf("sample: %w", err)
	}
	if track.Codec != fragments.H264 {
		return [][]byte{data}, nil
	}
	var units h264.AVCC
	if err := units.Unmarshal(data); err != nil {
		return nil, fmt.Errorf("sample: %w", err)
	}
	if s.IsNonSyncSample {
		return units, nil
	}
	return append(slices.Clone(track.Params), units...), nil
}
