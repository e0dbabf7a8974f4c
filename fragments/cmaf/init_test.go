package cmaf_test

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
)

// Parameter sets of 320x180 video as x264, x265 and SVT-AV1 wrote them.
var (
	avcSPS  = []byte{0x67, 0x64, 0x00, 0x0c, 0xac, 0xd9, 0x41, 0x41, 0x9f, 0x9f, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x42, 0x99, 0x60}
	avcPPS  = []byte{0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0}
	hevcVPS = []byte{0x40, 0x01, 0x0c, 0x01, 0xff, 0xff, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x3f, 0x95, 0x98, 0x09}
	hevcSPS = []byte{0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x3f, 0xa0, 0x0a, 0x08, 0x0b, 0x9f, 0x79, 0x65, 0x66, 0x92, 0x4c, 0xae, 0x6a, 0x02, 0x02, 0x02, 0x08, 0x00, 0x00, 0x03, 0x00, 0x08, 0x00, 0x00, 0x03, 0x00, 0xc8, 0x40}
	hevcPPS = []byte{0x44, 0x01, 0xc1, 0x72, 0xb4, 0x62, 0x40}
	av1Seq  = []byte{0x08, 0x00, 0x00, 0x00, 0x02, 0xaf, 0xff, 0x89, 0x5f, 0x22, 0x10, 0x08}
)

// tracksOfEachCodec has a row for every codec there is, and for every thing
// that standard boxes cannot hold.
func tracksOfEachCodec() map[string]*fragments.Track {
	p := func(sets ...[]byte) [][]byte { return sets }
	return map[string]*fragments.Track{
		"h264":               {Codec: fragments.H264, TimeScale: 90000, Width: 320, Height: 180, Params: p(avcSPS, avcPPS)},
		"h264 no params":     {Codec: fragments.H264, TimeScale: 90000},
		"h264 two pps":       {Codec: fragments.H264, TimeScale: 90000, Params: p(avcSPS, avcPPS, append(bytes.Clone(avcPPS), 1))},
		"h264 odd order":     {Codec: fragments.H264, TimeScale: 90000, Params: p(avcPPS, avcSPS)},
		"h265":               {Codec: fragments.H265, TimeScale: 90000, Width: 320, Height: 180, Params: p(hevcVPS, hevcSPS, hevcPPS)},
		"h265 no params":     {Codec: fragments.H265, TimeScale: 90000},
		"av1":                {Codec: fragments.AV1, TimeScale: 90000, Width: 320, Height: 180, Params: p(av1Seq)},
		"av1 no params":      {Codec: fragments.AV1, TimeScale: 90000},
		"vp8":                {Codec: fragments.VP8, TimeScale: 90000, Width: 320, Height: 180},
		"vp9":                {Codec: fragments.VP9, TimeScale: 90000, Width: 320, Height: 180, Params: p([]byte{1, 21, 0x84, 1, 1, 1, 0, 0})},
		"vp9 unknown":        {Codec: fragments.VP9, TimeScale: 90000, Width: 320, Height: 180},
		"vp9 70000 wide":     {Codec: fragments.VP9, TimeScale: 90000, Width: 70000, Height: 180},
		"aac":                {Codec: fragments.AAC, TimeScale: 44100, SampleRate: 44100, Channels: 2, Params: p([]byte{0x12, 0x10})},
		"aac 96 kHz":         {Codec: fragments.AAC, TimeScale: 96000, SampleRate: 96000, Channels: 2, Params: p([]byte{0x10, 0x10})},
		"aac long config":    {Codec: fragments.AAC, TimeScale: 48000, SampleRate: 48000, Channels: 2, Params: p(repeat(0x11, 300))},
		"opus mono":          {Codec: fragments.Opus, TimeScale: 48000, SampleRate: 48000, Channels: 1},
		"opus 6":             {Codec: fragments.Opus, TimeScale: 48000, SampleRate: 48000, Channels: 6},
		"opus 9":             {Codec: fragments.Opus, TimeScale: 48000, SampleRate: 48000, Channels: 9},
		"opus 24 kHz":        {Codec: fragments.Opus, TimeScale: 48000, SampleRate: 24000, Channels: 2},
		"pcmu":               {Codec: fragments.PCMU, TimeScale: 8000, SampleRate: 8000, Channels: 1},
		"pcma":               {Codec: fragments.PCMA, TimeScale: 8000, SampleRate: 8000, Channels: 2},
		"lpcm":               {Codec: fragments.LPCM, TimeScale: 16000, SampleRate: 16000, Channels: 2, BitDepth: 16},
		"lpcm 24 at 96 kHz":  {Codec: fragments.LPCM, TimeScale: 96000, SampleRate: 96000, Channels: 2, BitDepth: 24},
		"mp3":                {Codec: fragments.MP3, TimeScale: 44100, SampleRate: 44100, Channels: 2},
		"opaque":             {Codec: fragments.Opaque, TimeScale: 1000, CodecID: "V_THEORA", Params: p([]byte("private"))},
		"opaque with fields": {Codec: fragments.Opaque, TimeScale: 1000, CodecID: "A_VORBIS", SampleRate: 192000, Channels: 70000, BitDepth: 16, Width: 1, Height: 2, Params: p([]byte{}, repeat(1, 100_000))},
		"opaque bare":        {Codec: fragments.Opaque, TimeScale: 1},
		"unheard of":         {Codec: "H266", TimeScale: 90000, Width: 5},
	}
}

func TestInitRoundTrip(t *testing.T) {
	var all []*fragments.Track
	for name, track := range tracksOfEachCodec() {
		track.ID = len(all) + 1
		all = append(all, track)
		t.Run(name, func(t *testing.T) {
			data, err := cmaf.InitSegment(track)
			if err != nil {
				t.Fatal(err)
			}
			checkTracks(t, data, track)
		})
	}
	data, err := cmaf.InitSegment(all...)
	if err != nil {
		t.Fatal(err)
	}
	checkTracks(t, append(data, "\x00\x00\x00\x08free"...), all...)
}

func checkTracks(t *testing.T, data []byte, want ...*fragments.Track) {
	t.Helper()
	got, err := cmaf.ParseInit(data)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("%d tracks, want %d", len(got), len(want))
	}
	for i := range got {
		w := *want[i]
		if w.Kind() == fragments.KindVideo {
			w.Reorder = -1
		}
		if got[i].Hash() != w.Hash() || got[i].Reorder != w.Reorder || len(w.Params) > 0 && !reflect.DeepEqual(*got[i], w) {
			t.Errorf("track %d:\n got %+v\nwant %+v", w.ID, *got[i], w)
		}
	}
}

func TestInitRefuses(t *testing.T) {
	good := &fragments.Track{ID: 1, Codec: fragments.PCMU, TimeScale: 8000}
	for name, tracks := range map[string][]*fragments.Track{
		"no tracks":     {},
		"id 0":          {{Codec: fragments.PCMU, TimeScale: 8000}},
		"id twice":      {good, good},
		"no time scale": {{ID: 1, Codec: fragments.PCMU}},
		"huge sps":      {{ID: 1, Codec: fragments.H264, TimeScale: 1, Params: [][]byte{append(bytes.Clone(avcSPS), make([]byte, 1<<16)...)}}},
		"height -1<<40": {{ID: 1, Codec: fragments.VP8, TimeScale: 1, Height: -1 << 40}},
	} {
		if data, err := cmaf.InitSegment(tracks...); err == nil {
			t.Errorf("%s: got %d bytes, want an error", name, len(data))
		} else {
			t.Logf("%s: %v", name, err)
		}
	}
}
