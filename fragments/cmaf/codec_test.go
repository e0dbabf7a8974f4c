package cmaf_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
)

func params(sets ...[]byte) [][]byte { return sets }

// TestCodecString: the strings are those of the standards' own examples, or
// were read off the parameter sets by hand.
func TestCodecString(t *testing.T) {
	for name, c := range map[string]struct {
		track fragments.Track
		want  string // empty: an UnsupportedError
	}{
		"h264 high":            {fragments.Track{Codec: fragments.H264, Params: params(avcSPS, avcPPS)}, "avc1.64000c"},
		"h264 high 4:2:2":      {fragments.Track{Codec: fragments.H264, Params: params(avcPPS, avcSPS422)}, "avc1.7a000c"},
		"h264 constrained":     {fragments.Track{Codec: fragments.H264, Params: params([]byte{0x67, 0x42, 0xe0, 0x1f})}, "avc1.42e01f"},
		"h264 without sps":     {fragments.Track{Codec: fragments.H264, Params: params(avcPPS)}, ""},
		"h265 main":            {fragments.Track{Codec: fragments.H265, Params: params(hevcVPS, hevcSPS, hevcPPS)}, "hvc1.1.6.L60.90"},
		"h265 main 10":         {fragments.Track{Codec: fragments.H265, Params: params(hevcVPS, hevcSPS10, hevcPPS)}, "hvc1.2.4.L60.90"},
		"h265 space, high":     {fragments.Track{Codec: fragments.H265, Params: params([]byte{0x42, 1, 1, 0x62, 0x20, 0x11, 0x11, 0x12, 0xb1, 0x11, 0x23, 0, 0, 3, 0, 0x99})}, "hvc1.A2.48888804.H153.B1.11.23"},
		"h265 without sps":     {fragments.Track{Codec: fragments.H265, Params: params(hevcVPS)}, ""},
		"av1 main":             {fragments.Track{Codec: fragments.AV1, Params: params(av1Seq)}, "av01.0.00M.08"},
		"av1 10 bits":          {fragments.Track{Codec: fragments.AV1, Params: params(av1Seq10)}, "av01.0.00M.10"},
		"av1 without header":   {fragments.Track{Codec: fragments.AV1}, ""},
		"vp9 profile 1":        {fragments.Track{Codec: fragments.VP9, Params: params([]byte{1, 51, 0xa6, 1, 1, 1, 0, 0})}, "vp09.01.51.10"},
		"vp9 unknown":          {fragments.Track{Codec: fragments.VP9}, "vp09.00.10.08"},
		"vp8":                  {fragments.Track{Codec: fragments.VP8}, "vp08.00.10.08"},
		"aac lc":               {fragments.Track{Codec: fragments.AAC, Params: params([]byte{0x12, 0x10})}, "mp4a.40.2"},
		"aac he":               {fragments.Track{Codec: fragments.AAC, Params: params([]byte{0x2b, 0x92})}, "mp4a.40.5"},
		"aac xhe":              {fragments.Track{Codec: fragments.AAC, Params: params([]byte{0xf9, 0x40})}, "mp4a.40.42"},
		"aac without config":   {fragments.Track{Codec: fragments.AAC}, ""},
		"opus":                 {fragments.Track{Codec: fragments.Opus}, "opus"},
		"mp3":                  {fragments.Track{Codec: fragments.MP3}, "mp4a.6B"},
		"flac":                 {fragments.Track{Codec: cmaf.FLAC}, "fLaC"},
		"pcmu":                 {fragments.Track{Codec: fragments.PCMU}, "ulaw"},
		"pcma":                 {fragments.Track{Codec: fragments.PCMA}, "alaw"},
		"lpcm":                 {fragments.Track{Codec: fragments.LPCM}, "ipcm"},
		"opaque":               {fragments.Track{Codec: fragments.Opaque, CodecID: "V_THEORA"}, ""},
		"empty parameter sets": {fragments.Track{Codec: fragments.AAC, Params: params(nil)}, ""},
	} {
		got, err := cmaf.CodecString(&c.track)
		var uerr *cmaf.UnsupportedError
		if got != c.want || (err != nil) != (c.want == "") || err != nil && !errors.As(err, &uerr) {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, c.want)
		}
	}
}

func TestPlayable(t *testing.T) {
	for name, c := range map[string]struct {
		track fragments.Track
		why   string
	}{
		"h264":    {fragments.Track{Codec: fragments.H264, Params: params(avcSPS, avcPPS)}, ""},
		"h265":    {fragments.Track{Codec: fragments.H265, Params: params(hevcVPS, hevcSPS, hevcPPS)}, ""},
		"av1":     {fragments.Track{Codec: fragments.AV1, Params: params(av1Seq)}, ""},
		"vp9":     {fragments.Track{Codec: fragments.VP9}, ""},
		"aac":     {fragments.Track{Codec: fragments.AAC, Params: params([]byte{0x12, 0x10})}, ""},
		"opus":    {fragments.Track{Codec: fragments.Opus}, ""},
		"pcmu":    {fragments.Track{Codec: fragments.PCMU, SampleRate: 8000, Channels: 1}, ""},
		"pcma":    {fragments.Track{Codec: fragments.PCMA, SampleRate: 8000, Channels: 1}, ""},
		"lpcm":    {fragments.Track{Codec: fragments.LPCM, SampleRate: 44100, Channels: 2, BitDepth: 24}, ""},
		"flac":    {fragments.Track{Codec: cmaf.FLAC}, ""},
		"lpcm 20": {fragments.Track{Codec: fragments.LPCM, SampleRate: 44100, Channels: 2, BitDepth: 20}, "20 bits"},
		"no sps":  {fragments.Track{Codec: fragments.H264}, "sequence parameter set"},
		"vp8":     {fragments.Track{Codec: fragments.VP8}, "codec VP8: browsers do not play it in MP4"},
		"mp3":     {fragments.Track{Codec: fragments.MP3}, "codec MP3: browsers do not play it"},
		"opaque":  {fragments.Track{Codec: fragments.Opaque, CodecID: "V_THEORA"}, "V_THEORA"},
	} {
		err := cmaf.Playable(&c.track)
		var uerr *cmaf.UnsupportedError
		if (err == nil) != (c.why == "") || err != nil && (!errors.As(err, &uerr) || !strings.Contains(err.Error(), c.why)) {
			t.Errorf("%s: got %v, want %q", name, err, c.why)
		}
	}
}

func TestFrameRate(t *testing.T) {
	for name, c := range map[string]struct {
		track fragments.Track
		want  float64
	}{
		"h264":           {fragments.Track{Codec: fragments.H264, Params: params(avcSPS, avcPPS)}, 25},
		"h265":           {fragments.Track{Codec: fragments.H265, Params: params(hevcVPS, hevcSPS, hevcPPS)}, 25},
		"h264 no params": {fragments.Track{Codec: fragments.H264}, 0},
		"h265 broken":    {fragments.Track{Codec: fragments.H265, Params: params(hevcSPS[:9])}, 0},
		"av1 no timing":  {fragments.Track{Codec: fragments.AV1, Params: params(nil, av1Seq)}, 0},
		"aac":            {fragments.Track{Codec: fragments.AAC}, 0},
	} {
		if got := cmaf.FrameRate(&c.track); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

// TestInitReadByMediacommon has mediacommon read the initialisation segment of
// every codec it knows.
func TestInitReadByMediacommon(t *testing.T) {
	known := 0
	for name, track := range tracksOfEachCodec() {
		track.ID = 7
		data, err := cmaf.InitSegment(track)
		if err != nil {
			t.Fatal(err)
		}
		var in fmp4.Init
		if in.Unmarshal(bytes.NewReader(data)) != nil {
			continue // of the oddities it refuses many
		}
		if in.Tracks[0].ID != 7 || in.Tracks[0].TimeScale != track.TimeScale {
			t.Errorf("%s: got %+v", name, in.Tracks[0])
		}
		ok := true
		switch c := in.Tracks[0].Codec.(type) {
		case *codecs.H264:
			ok = bytes.Equal(c.SPS, avcSPS) && bytes.Equal(c.PPS, avcPPS) || bytes.Equal(c.SPS, avcSPS422) && bytes.Equal(c.PPS, avcPPS422)
		case *codecs.H265:
			ok = bytes.Equal(c.VPS, hevcVPS) && (bytes.Equal(c.SPS, hevcSPS) || bytes.Equal(c.SPS, hevcSPS10)) && bytes.Equal(c.PPS, hevcPPS)
		case *codecs.AV1:
			ok = bytes.Equal(c.SequenceHeader, av1Seq)
		case *codecs.VP9:
			ok = c.Height == 180
		case *codecs.Opus:
			ok = c.ChannelCount == track.Channels
		case *codecs.LPCM:
			ok = c.BitDepth == track.BitDepth && c.ChannelCount == track.Channels && !c.LittleEndian
		case *codecs.MPEG4Audio:
			ok = c.Config.SampleRate == track.SampleRate
		case *codecs.MPEG1Audio:
			ok = c.SampleRate == track.SampleRate && c.ChannelCount == 2
		}
		if !ok {
			t.Errorf("%s: got %+v", name, in.Tracks[0].Codec)
		}
		known++
	}
	if known < 12 {
		t.Errorf("mediacommon read %d segments, want at least 12", known)
	}
}
