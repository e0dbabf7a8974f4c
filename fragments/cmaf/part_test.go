package cmaf_test

import (
	"bytes"
	"testing"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/av1"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4/seekablebuffer"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
)

// reference is the part as mediacommon writes it.
func reference(tb testing.TB, track *fragments.Track, sequence uint32, decodeTime int64, samples []fragments.Sample) []byte {
	tb.Helper()
	pt := &fmp4.PartTrack{ID: track.ID, BaseTime: uint64(decodeTime)}
	for _, s := range samples {
		ms := &fmp4.Sample{Duration: s.Duration, PTSOffset: int32(s.Offset), IsNonSyncSample: !s.Key}
		var err error
		switch track.Codec {
		case fragments.H264, fragments.H265:
			ms.Payload, err = h264.AVCC(s.Payload).Marshal()
		case fragments.AV1:
			ms.Payload, err = av1.Bitstream(s.Payload).Marshal()
		default:
			ms.Payload = bytes.Join(s.Payload, nil)
		}
		if err != nil {
			tb.Fatal(err)
		}
		pt.Samples = append(pt.Samples, ms)
	}
	var buf seekablebuffer.Buffer
	if err := (fmp4.Part{SequenceNumber: sequence, Tracks: []*fmp4.PartTrack{pt}}).Marshal(&buf); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

func repeat(first byte, n int) []byte {
	b := bytes.Repeat([]byte{0xa5}, n)
	b[0] = first
	return b
}

func partCases() map[string]struct {
	codec   fragments.Codec
	samples []fragments.Sample
} {
	type c = struct {
		codec   fragments.Codec
		samples []fragments.Sample
	}
	one := func(b ...[]byte) [][]byte { return b }
	cases := map[string]c{
		"h264 key first": {fragments.H264, []fragments.Sample{
			{Duration: 3600, Key: true, Payload: one(repeat(0x67, 20), repeat(0x68, 4), repeat(0x65, 900))},
			{Duration: 3601, Payload: one(repeat(0x41, 300))},
		}},
		"h264 b-frames": {fragments.H264, []fragments.Sample{
			{Duration: 3600, Offset: 7200, Key: true, Payload: one(repeat(0x65, 70_000))},
			{Duration: 3600, Offset: 0, Payload: one(repeat(0x41, 1), repeat(0x41, 2))},
			{Duration: 3600, Offset: 3600, Payload: one(repeat(0x01, 33))},
		}},
		"h264 all keys": {fragments.H264, []fragments.Sample{{Duration: 1, Key: true, Payload: one(repeat(0x65, 9))}, {Duration: 1, Key: true, Payload: one(repeat(0x65, 9))}}},
		"h265":          {fragments.H265, []fragments.Sample{{Duration: 3000, Key: true, Payload: one(repeat(0x40, 30), repeat(0x26, 800))}, {Duration: 3000, Offset: 9000, Payload: one(repeat(0x02, 80))}}},
		"av1 sizes": {fragments.AV1, []fragments.Sample{
			{Duration: 3000, Key: true, Payload: one(repeat(0x08, 11), repeat(0x30, 128), repeat(0x30, 129), repeat(0x30, 20_000))},
			{Duration: 3000, Payload: one(repeat(0x32, 40))}, // has a size field
		}},
		"no samples": {fragments.H264, nil},
	}
	for _, codec := range []fragments.Codec{fragments.VP8, fragments.VP9, fragments.AAC, fragments.Opus, fragments.PCMU, fragments.PCMA, fragments.LPCM, fragments.MP3, fragments.Opaque} {
		cases[string(codec)] = c{codec, []fragments.Sample{
			{Duration: 1024, Key: true, Payload: one(repeat(1, 170))},
			{Duration: 1023, Key: true, Payload: one(repeat(2, 0x1_0000))},
			{Duration: 1024, Key: true, Payload: one(repeat(3, 3), repeat(4, 5))},
		}}
	}
	return cases
}

// TestPartIsMediacommons compares whole parts of every codec with those of
// mediacommon.
func TestPartIsMediacommons(t *testing.T) {
	for name, c := range partCases() {
		t.Run(name, func(t *testing.T) {
			track := &fragments.Track{ID: 3, Codec: c.codec, TimeScale: 90000}
			for _, dt := range []int64{0, 1 << 31, 1<<62 + 12345} {
				want := reference(t, track, 77, dt, c.samples)
				got := cmaf.AppendPart([]byte("before"), track, 77, dt, c.samples)
				if !bytes.Equal(got, append([]byte("before"), want...)) {
					t.Fatalf("decode time %d:\n got %x\nwant before + %x", dt, got[:min(len(got), 200)], want[:min(len(want), 200)])
				}
			}
		})
	}
}

func TestPartDropsWhatHasNoPlace(t *testing.T) {
	delimiter := []byte{0x12, 0x00} // with a size field
	bare := []byte{0x10}
	track := &fragments.Track{ID: 1, Codec: fragments.AV1, TimeScale: 90000}
	with := []fragments.Sample{{Duration: 1, Key: true, Payload: [][]byte{delimiter, bare, {}, repeat(0x30, 5)}}}
	without := []fragments.Sample{{Duration: 1, Key: true, Payload: [][]byte{repeat(0x30, 5)}}}
	if got, want := cmaf.AppendPart(nil, track, 1, 0, with), cmaf.AppendPart(nil, track, 1, 0, without); !bytes.Equal(got, want) {
		t.Errorf("av1:\n got %x\nwant %x", got, want)
	}
	track = &fragments.Track{ID: 1, Codec: fragments.H264, TimeScale: 90000}
	with[0].Payload = [][]byte{nil, repeat(0x65, 5), {}}
	without[0].Payload = [][]byte{repeat(0x65, 5)}
	if got, want := cmaf.AppendPart(nil, track, 1, 0, with), cmaf.AppendPart(nil, track, 1, 0, without); !bytes.Equal(got, want) {
		t.Errorf("h264:\n got %x\nwant %x", got, want)
	}
}

// An OBU with an extension keeps its second byte before the size
// (mediacommon refuses such OBUs).
func TestPartAV1Extension(t *testing.T) {
	track := &fragments.Track{ID: 1, Codec: fragments.AV1, TimeScale: 90000}
	obu := []byte{0x34, 0x28, 1, 2, 3}
	got := cmaf.AppendPart(nil, track, 1, 0, []fragments.Sample{{Duration: 1, Key: true, Payload: [][]byte{obu}}})
	if want := []byte{0x36, 0x28, 3, 1, 2, 3}; !bytes.HasSuffix(got, want) {
		t.Errorf("got %x, want it to end with %x", got, want)
	}
}

func TestPartAllocatesOnce(t *testing.T) {
	for name, c := range partCases() {
		track := &fragments.Track{ID: 1, Codec: c.codec, TimeScale: 90000}
		if n := testing.AllocsPerRun(20, func() { cmaf.AppendPart(nil, track, 1, 0, c.samples) }); n > 1 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestPartTfdtPosition(t *testing.T) {
	for name, c := range partCases() {
		track := &fragments.Track{ID: 1, Codec: c.codec, TimeScale: 90000}
		got := cmaf.AppendPart(nil, track, 1, 0x0102030405060708, c.samples)
		if !bytes.Equal(got[60:68], []byte{1, 2, 3, 4, 5, 6, 7, 8}) {
			t.Errorf("%s: byte 60 is %x", name, got[60:68])
		}
	}
}

var benchParts = []struct {
	name    string
	codec   fragments.Codec
	samples []fragments.Sample
}{
	{"video 5 x 10 kB", fragments.H264, benchSamples(5, 10_000)},
	{"audio 9 x 170 B", fragments.AAC, benchSamples(9, 170)},
}

func benchSamples(n, size int) []fragments.Sample {
	s := make([]fragments.Sample, n)
	for i := range s {
		s[i] = fragments.Sample{Duration: 3600, Key: i == 0, Payload: [][]byte{repeat(0x41, size)}}
	}
	return s
}

func BenchmarkAppendPart(b *testing.B) {
	for _, c := range benchParts {
		track := &fragments.Track{ID: 1, Codec: c.codec, TimeScale: 90000}
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				cmaf.AppendPart(nil, track, 1, 0, c.samples)
			}
		})
		b.Run(c.name+" reused buffer", func(b *testing.B) {
			b.ReportAllocs()
			var dst []byte
			for b.Loop() {
				dst = cmaf.AppendPart(dst[:0], track, 1, 0, c.samples)
			}
		})
		b.Run(c.name+" mediacommon", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				reference(b, track, 1, 0, c.samples)
			}
		})
	}
}
