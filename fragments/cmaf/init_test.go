package cmaf_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// Parameter sets of 320x180 video at 25 frames per second, as x264, x265,
// SVT-AV1 and libaom wrote them.
var (
	avcSPS    = unhex("6764000cacd941419f9f011000000300100000030320f1429960")
	avcPPS    = unhex("68ef8fcb")
	avcSPS422 = unhex("677a000cb6cd941419f8dc0440000003004000000c83c50a6580") // 10 bits
	avcPPS422 = unhex("68ebe3cb22c0")
	hevcVPS   = unhex("40010c01ffff01600000030090000003000003003c959409")
	hevcSPS   = unhex("42010101600000030090000003000003003ca00a080c1f3e595952930bc05a020000030002000003003210")
	hevcPPS   = unhex("4401c073c189")
	hevcSPS10 = unhex("42010102200000030090000003000003003ca00a080c1f3b6595952930bc05a02000000300200000030321") // 10 bits
	av1Seq    = unhex("08000000043cfeccfbf90040")
	av1Seq10  = unhex("08000000043cfeccdaf94040") // 10 bits
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
		"h264 4:2:2":         {Codec: fragments.H264, TimeScale: 90000, Width: 320, Height: 180, Params: p(avcSPS422, avcPPS422)},
		"h265 10 bits":       {Codec: fragments.H265, TimeScale: 90000, Width: 320, Height: 180, Params: p(hevcVPS, hevcSPS10, hevcPPS)},
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

// TestInitPictureFormat: the records repeat chroma format and bit depths.
func TestInitPictureFormat(t *testing.T) {
	for name, c := range map[string]struct {
		track fragments.Track
		want  []byte // chroma format, depth of luma, of chroma, and what follows
	}{
		"h264 4:2:0":   {fragments.Track{Codec: fragments.H264, Params: params(avcSPS, avcPPS)}, []byte{0xfd, 0xf8, 0xf8, 0}},
		"h264 4:2:2":   {fragments.Track{Codec: fragments.H264, Params: params(avcSPS422, avcPPS422)}, []byte{0xfe, 0xfa, 0xfa, 0}},
		"h265 8 bits":  {fragments.Track{Codec: fragments.H265, Params: params(hevcSPS)}, []byte{0xfd, 0xf8, 0xf8, 0, 0, 0x0f}},
		"h265 10 bits": {fragments.Track{Codec: fragments.H265, Params: params(hevcSPS10)}, []byte{0xfd, 0xfa, 0xfa, 0, 0, 0x0f}},
		"av1 8 bits":   {fragments.Track{Codec: fragments.AV1, Params: params(av1Seq)}, []byte{0x81, 0, 0x0c, 0, 0x0a}},
		"av1 10 bits":  {fragments.Track{Codec: fragments.AV1, Params: params(av1Seq10)}, []byte{0x81, 0, 0x4c, 0, 0x0a}},
	} {
		c.track.ID, c.track.TimeScale = 1, 1
		data, err := cmaf.InitSegment(&c.track)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(data, c.want) {
			t.Errorf("%s: no %x in %x", name, c.want, data)
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
		"1025 tracks":   slices.Repeat([]*fragments.Track{good}, 1025),
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

func TestParseInitErrors(t *testing.T) {
	good, err := cmaf.InitSegment(
		&fragments.Track{ID: 1, Codec: fragments.H264, TimeScale: 90000, Params: [][]byte{avcSPS, avcPPS}},
		&fragments.Track{ID: 2, Codec: fragments.AAC, TimeScale: 44100, SampleRate: 96000, Channels: 2, Params: [][]byte{{0x12, 0x10}}},
	)
	if err != nil {
		t.Fatal(err)
	}
	hevc, err := cmaf.InitSegment(&fragments.Track{ID: 1, Codec: fragments.H265, TimeScale: 90000, Params: [][]byte{hevcVPS, hevcSPS, hevcPPS}})
	if err != nil {
		t.Fatal(err)
	}
	record := bytes.Index(hevc, []byte("hvcC")) + 4
	hevc[record+22]++                       // one array more,
	hevc[bytes.Index(hevc, hevcPPS)-1] -= 2 // of two bytes
	// in replaces bytes from the given place after the n-th box of a type on.
	in := func(box string, n, at int, b ...byte) []byte {
		d := bytes.Clone(good)
		i := 0
		for ; n > 0; n-- {
			i += bytes.Index(d[i:], []byte(box)) + 4
		}
		copy(d[i+at:], b)
		return d
	}
	for name, c := range map[string]struct {
		data []byte
		box  string
	}{
		"nothing":              {nil, "moov"},
		"no moov":              {good[:36], "moov"},
		"torn":                 {good[:100], "moov"},
		"no tracks":            {bytes.ReplaceAll(good, []byte("trak"), []byte("free")), "moov"},
		"id 0":                 {in("tkhd", 1, 12, 0, 0, 0, 0), "tkhd"},
		"id above 31 bits":     {in("tkhd", 1, 12, 0xff), "tkhd"},
		"id twice":             {in("tkhd", 2, 12, 0, 0, 0, 1), "trak"},
		"no time scale":        {in("mdhd", 1, 12, 0, 0, 0, 0), "mdhd"},
		"no mdhd":              {in("mdhd", 1, -4, 'f', 'r', 'e', 'e'), "trak"},
		"no stsd":              {in("stsd", 1, -4, 'f', 'r', 'e', 'e'), "trak"},
		"two entries":          {in("stsd", 1, 7, 2), "stsd"},
		"entry sticks out":     {in("avc1", 1, -8, 1), "avc1"},
		"unknown entry":        {in("avc1", 1, -4, 'a', 'b', 'c', '1'), "abc1"},
		"box in entry too big": {in("avcC", 1, -8, 1), "avcC"},
		"sps sticks out":       {in("avcC", 1, 6, 1), "avcC"},
		"pps sticks out":       {in("avcC", 1, 8+len(avcSPS), 200), "avcC"},
		"avc of version 2":     {in("avcC", 1, 0, 2), "avcC"},
		"hevc array cut":       {hevc, "hvcC"},
		"esds cut":             {in("esds", 1, 5, 0xff, 0xff, 0xff, 0x7f), "esds"},
		"object unknown":       {in("esds", 1, 17, 0x20), "esds"},
		"exact of version 2":   {in("uuid", 1, 16, 2), "uuid"},
		"exact name too long":  {in("uuid", 1, 37, 0xff), "uuid"},
		"exact too many sets":  {in("uuid", 1, 44, 0xff), "uuid"},
		"exact set too long":   {in("uuid", 1, 48, 0xff), "uuid"},
	} {
		_, err := cmaf.ParseInit(c.data)
		var ferr *cmaf.FormatError
		if !errors.As(err, &ferr) || ferr.Box != c.box {
			t.Errorf("%s: got %v, want a fault of %s", name, err, c.box)
		} else if ferr.Offset > 0 && ferr.Box != "moov" && string(c.data[ferr.Offset+4:ferr.Offset+8]) != c.box {
			t.Errorf("%s: %v, where there is %q", name, err, c.data[ferr.Offset+4:ferr.Offset+8])
		}
	}
}

// FuzzParseInit: tracks that are read can be written, and are then read again
// as they were, unless they are more than a segment can hold.
func FuzzParseInit(f *testing.F) {
	for _, track := range tracksOfEachCodec() {
		track.ID = 1
		data, err := cmaf.InitSegment(track)
		if err != nil {
			f.Fatal(err)
		}
		if len(data) < 2000 {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tracks, err := cmaf.ParseInit(data)
		if err != nil {
			var ferr *cmaf.FormatError
			if !errors.As(err, &ferr) || ferr.Offset < 0 || ferr.Offset > int64(len(data)) {
				t.Fatalf("error %v", err)
			}
			return
		}
		for _, track := range tracks {
			_, _ = cmaf.CodecString(track)
			_ = cmaf.FrameRate(track)
			_, _ = cmaf.FLACInit(track)
		}
		again, err := cmaf.InitSegment(tracks...)
		if err != nil {
			t.Logf("not written: %v", err)
			return
		}
		checkTracks(t, again, tracks...)
	})
}
