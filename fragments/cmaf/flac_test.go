package cmaf_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/g711"
	"github.com/mewkiz/flac"
	"github.com/mewkiz/flac/frame"
	"github.com/mewkiz/flac/meta"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
)

// linear returns the PCM of a clip as signed big-endian samples.
func linear(track *fragments.Track, samples []fragments.Sample) []byte {
	var pcm []byte
	for _, s := range samples {
		switch track.Codec {
		case fragments.PCMU:
			var l g711.Mulaw
			l.Unmarshal(s.Payload[0])
			pcm = append(pcm, l...)
		case fragments.PCMA:
			var l g711.Alaw
			l.Unmarshal(s.Payload[0])
			pcm = append(pcm, l...)
		default:
			pcm = append(pcm, s.Payload[0]...)
		}
	}
	return pcm
}

// decodeFLAC decodes the frames of parts with mewkiz/flac, and checks each
// against its duration and sample number.
func decodeFLAC(tb testing.TB, track *fragments.Track, data []byte) []byte {
	tb.Helper()
	var pcm []byte
	for p, err := range cmaf.Parts(data) {
		if err != nil {
			tb.Fatal(err)
		}
		at := p.DecodeTime
		for _, s := range p.Samples {
			r := bytes.NewReader(s.Data)
			f, err := frame.Parse(r)
			if err != nil {
				tb.Fatal(err)
			}
			if r.Len() > 0 || f.HasFixedBlockSize || f.SampleRate != uint32(track.SampleRate) && f.SampleRate != 0 {
				tb.Fatalf("%d bytes left, header %+v", r.Len(), f.Header)
			}
			number := uint64(at) / uint64(track.TimeScale) * uint64(track.SampleRate)
			number += uint64(at) % uint64(track.TimeScale) * uint64(track.SampleRate) / uint64(track.TimeScale)
			if f.Num != number&(1<<36-1) {
				tb.Fatalf("frame at %d is sample %d, want %d", at, f.Num, number)
			}
			at += int64(s.Duration)
			pcm = appendFrame(pcm, f)
		}
	}
	return pcm
}

func appendFrame(pcm []byte, f *frame.Frame) []byte {
	for i := range f.Subframes[0].Samples {
		for _, sub := range f.Subframes {
			v := uint32(sub.Samples[i])
			switch f.BitsPerSample {
			case 24:
				pcm = append(pcm, byte(v>>16), byte(v>>8), byte(v))
			case 16:
				pcm = append(pcm, byte(v>>8), byte(v))
			default:
				pcm = append(pcm, byte(v))
			}
		}
	}
	return pcm
}

// parts writes samples as parts of n each.
func parts(track *fragments.Track, decodeTime int64, n int, samples []fragments.Sample) [][]byte {
	var all [][]byte
	for len(samples) > 0 {
		part := samples[:min(n, len(samples))]
		samples = samples[len(part):]
		all = append(all, cmaf.AppendPart(nil, track, uint32(len(all)+1), decodeTime, part))
		for _, s := range part {
			decodeTime += int64(s.Duration)
		}
	}
	return all
}

// TestFLACOfClips converts what ffmpeg encoded: ffmpeg and mewkiz/flac decode
// it to the same samples, parts alone give the bytes of parts together, and the
// durations are kept.
func TestFLACOfClips(t *testing.T) {
	for _, codec := range []fragments.Codec{fragments.PCMU, fragments.PCMA, fragments.LPCM} {
		t.Run(string(codec), func(t *testing.T) {
			c := encode(t, codec)
			track := *c.track
			track.ID = 4
			all := parts(&track, 1000, 10, c.samples)
			var alone []byte
			for _, p := range all {
				var err error
				if alone, err = cmaf.FLACRun(alone, &track, p); err != nil {
					t.Fatal(err)
				}
			}
			data, err := cmaf.FLACRun([]byte("before"), &track, bytes.Join(all, nil))
			if err != nil {
				t.Fatal(err)
			}
			if string(data) != "before"+string(alone) {
				t.Fatal("parts converted alone are not those converted together")
			}
			want := linear(&track, c.samples)
			if got := decodeFLAC(t, &track, alone); !bytes.Equal(got, want) {
				t.Fatalf("mewkiz/flac decodes other samples: %d bytes, want %d", len(got), len(want))
			}
			checkSameTimes(t, alone, bytes.Join(all, nil))

			init, err := cmaf.FLACInit(&track)
			if err != nil {
				t.Fatal(err)
			}
			if err := cmaf.Rebase(alone, -1000); err != nil {
				t.Fatal(err)
			}
			name := write(t, append(init, alone...))
			got := run(t, nil, "ffmpeg", "-v", "warning", "-i", name, "-f", "s16be", "-")
			if !bytes.Equal(got, want) {
				t.Fatalf("ffmpeg decodes other samples: %d bytes, want %d", len(got), len(want))
			}
			stream := probe(t, name)[0]
			if stream["codec_name"] != "flac" || stream["codec_tag_string"] != "fLaC" || stream["sample_rate"] != strconv.Itoa(track.SampleRate) ||
				stream["bits_per_raw_sample"] != "16" || stream["start_pts"] != "0" || stream["id"] != "0x4" {
				t.Errorf("ffprobe sees %v", stream)
			}
			t.Logf("%d bytes of PCM, %d stored, %d as FLAC", len(want), len(bytes.Join(all, nil)), len(alone))
		})
	}
}

// checkSameTimes compares the parts of two runs but for their samples.
func checkSameTimes(t *testing.T, a, b []byte) {
	t.Helper()
	pa, pb := readParts(t, a), readParts(t, b)
	if len(pa) != len(pb) {
		t.Fatalf("%d parts, want %d", len(pa), len(pb))
	}
	for i := range pa {
		if pa[i].DecodeTime != pb[i].DecodeTime || pa[i].Duration != pb[i].Duration || pa[i].Sequence != pb[i].Sequence || pa[i].TrackID != pb[i].TrackID {
			t.Errorf("part %d: %+v, want %+v", i, pa[i], pb[i])
		}
	}
}

// signals are shapes that each take another way through the encoder.
var signals = map[string]func(i, channel int, r *rand.Rand) int32{
	"silence":  func(int, int, *rand.Rand) int32 { return 0 },
	"constant": func(_, c int, _ *rand.Rand) int32 { return int32(c) - 1 },
	"lowest":   func(int, int, *rand.Rand) int32 { return -1 << 31 },
	"extremes": func(i, _ int, _ *rand.Rand) int32 {
		if i%2 == 0 {
			return -1 << 31
		}
		return 1<<31 - 1
	},
	"noise":    func(_, _ int, r *rand.Rand) int32 { return int32(r.Uint32()) },
	"quiet":    func(_, _ int, r *rand.Rand) int32 { return r.Int32N(1<<20) - 1<<19 },
	"ramp":     func(i, c int, _ *rand.Rand) int32 { return int32(i*(c+1)) << 16 },
	"parabola": func(i, _ int, _ *rand.Rand) int32 { return int32(i*i) << 9 },
	"coarse":   func(_, _ int, r *rand.Rand) int32 { return int32(r.Uint32()) &^ (1<<27 - 1) },
	"click": func(i, _ int, _ *rand.Rand) int32 {
		if i == 7 {
			return 1<<31 - 1
		}
		return int32(i&1) << 25
	},
	"stereo alike": func(i, c int, r *rand.Rand) int32 { return int32(i*7919%65536-32768)<<15 + int32(c)<<16 },
}

// TestFLACOfSignals converts linear PCM of every depth and many sizes, rates
// and numbers of channels, and decodes it with mewkiz/flac.
func TestFLACOfSignals(t *testing.T) {
	seed := [2]uint64{1, 2}
	t.Logf("seed %v, %d signals", seed, len(signals))
	rates := []int{8000, 11025, 16000, 22050, 44100, 48000, 88200, 96000, 100_000, 192000, 655350}
	lengths := []int{1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 160, 441, 4608, 4609, 20_000}
	n := 0
	for name, signal := range signals {
		for _, depth := range []int{8, 16, 24} {
			for channels := 1; channels <= 8; channels++ {
				rate, length := rates[n%len(rates)], lengths[n%len(lengths)]
				n++
				r := rand.New(rand.NewPCG(seed[0], seed[1]))
				var pcm []byte
				for i := range length {
					for c := range channels {
						pcm = appendSample(pcm, signal(i, c, r), depth)
					}
				}
				track := &fragments.Track{ID: 1, Codec: fragments.LPCM, TimeScale: uint32(rate), SampleRate: rate, Channels: channels, BitDepth: depth}
				part := cmaf.AppendPart(nil, track, 1, 1<<40+int64(n)<<33, []fragments.Sample{{Duration: uint32(length), Key: true, Payload: [][]byte{pcm}}})
				data, err := cmaf.FLACRun(nil, track, part)
				if err != nil {
					t.Fatal(err)
				}
				if got := decodeFLAC(t, track, data); !bytes.Equal(got, pcm) {
					t.Errorf("%s, %d samples, %d bits, %d channels: not the same samples", name, length, depth, channels)
				}
				checkSameTimes(t, data, part)
			}
		}
	}
}

func appendSample(pcm []byte, v int32, depth int) []byte {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(v))
	return append(pcm, b[:depth/8]...)
}

// A time scale that is not the sample rate, as of Matroska, and a decode time
// at which 64 bits do not hold the number of the sample.
func TestFLACOfCoarseTimes(t *testing.T) {
	track := &fragments.Track{ID: 1, Codec: fragments.PCMA, TimeScale: 1000, SampleRate: 8000, Channels: 1}
	var samples []fragments.Sample
	for i := range 30 {
		samples = append(samples, fragments.Sample{Duration: 20, Key: true, Payload: [][]byte{repeat(byte(i), 160)}})
	}
	for _, decodeTime := range []int64{0, 12345, math.MaxInt64 - 1000} {
		part := cmaf.AppendPart(nil, track, 1, decodeTime, samples)
		data, err := cmaf.FLACRun(nil, track, part)
		if err != nil {
			t.Fatal(err)
		}
		checkSameTimes(t, data, part)
		if !bytes.Equal(decodeFLAC(t, track, data), linear(track, samples)) {
			t.Errorf("at %d: not the same samples", decodeTime)
		}
	}
}

// Stereo of two like channels must take little more than one of them.
func TestFLACStereoIsJoint(t *testing.T) {
	size := func(channels int, twin bool) int {
		r := rand.New(rand.NewPCG(3, 4))
		var pcm []byte
		for range 4096 {
			v := int32(r.Uint32())
			for c := range channels {
				if c > 0 && !twin {
					v = int32(r.Uint32())
				}
				pcm = appendSample(pcm, v, 16)
			}
		}
		track := &fragments.Track{ID: 1, Codec: fragments.LPCM, TimeScale: 48000, SampleRate: 48000, Channels: channels, BitDepth: 16}
		data, err := cmaf.FLACRun(nil, track, cmaf.AppendPart(nil, track, 1, 0, []fragments.Sample{{Duration: 4096, Key: true, Payload: [][]byte{pcm}}}))
		if err != nil {
			t.Fatal(err)
		}
		return len(data)
	}
	if mono, twins, apart := size(1, false), size(2, true), size(2, false); twins > mono+20 || apart < 2*mono-200 {
		t.Errorf("mono %d bytes, two like channels %d, two unlike %d", mono, twins, apart)
	}
}

// TestFLACKeepsHoles: a stored sample that lasts longer than its audio ends its
// frame; slow drift does not; a stored sample without audio lengthens the frame
// before.
func TestFLACKeepsHoles(t *testing.T) {
	track := &fragments.Track{ID: 1, Codec: fragments.PCMU, TimeScale: 8000, SampleRate: 8000, Channels: 1}
	for name, c := range map[string]struct {
		lasts []uint32 // of 160 samples each, none where 0 mod 1000
		want  []uint32
	}{
		"even":         {[]uint32{160, 160, 160}, []uint32{480}},
		"drift":        {[]uint32{160, 161, 159, 160}, []uint32{640}},
		"lost":         {[]uint32{160, 480, 160}, []uint32{640, 160}},
		"none":         {[]uint32{160, 1000, 160}, []uint32{1320}},
		"none first":   {[]uint32{1000, 160}, []uint32{1160}},
		"none last":    {[]uint32{160, 480, 1000}, []uint32{1640}},
		"nothing else": {[]uint32{1000}, nil},
	} {
		var samples []fragments.Sample
		for _, d := range c.lasts {
			payload := make([]byte, 160)
			if d%1000 == 0 {
				payload = nil
			}
			samples = append(samples, fragments.Sample{Duration: d, Key: true, Payload: [][]byte{payload}})
		}
		data, err := cmaf.FLACRun(nil, track, cmaf.AppendPart(nil, track, 1, 0, samples))
		if err != nil {
			t.Fatal(err)
		}
		var got []uint32
		for _, p := range readParts(t, data) {
			for _, s := range p.Samples {
				got = append(got, s.Duration)
			}
		}
		if !equal(got, c.want) {
			t.Errorf("%s: frames last %v, want %v", name, got, c.want)
		}
	}
}

func equal[T comparable](a, b []T) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestFLACRefuses(t *testing.T) {
	for name, track := range map[string]fragments.Track{
		"aac":        {Codec: fragments.AAC, SampleRate: 8000, Channels: 1},
		"9 channels": {Codec: fragments.PCMU, SampleRate: 8000, Channels: 9},
		"0 channels": {Codec: fragments.PCMU, SampleRate: 8000},
		"0 Hz":       {Codec: fragments.PCMU, Channels: 1},
		"1 MHz":      {Codec: fragments.PCMA, SampleRate: 1_000_000, Channels: 1},
		"32 bits":    {Codec: fragments.LPCM, SampleRate: 48000, Channels: 1, BitDepth: 32},
	} {
		var uerr *cmaf.UnsupportedError
		if _, err := cmaf.FLACInit(&track); !errors.As(err, &uerr) {
			t.Errorf("%s: init: got %v", name, err)
		}
		if dst, err := cmaf.FLACRun([]byte("x"), &track, nil); !errors.As(err, &uerr) || string(dst) != "x" {
			t.Errorf("%s: run: got %v", name, err)
		}
	}
	good := fragments.Track{ID: 1, TimeScale: 8000, Codec: fragments.PCMU, SampleRate: 8000, Channels: 1}
	part := cmaf.AppendPart(nil, &good, 1, 0, benchSamples(1, 160))
	if dst, err := cmaf.FLACRun([]byte("x"), &good, append(part, part[:9]...)); !errors.Is(err, io.ErrUnexpectedEOF) || string(dst) != "x" {
		t.Errorf("torn run: got %q, %v", dst, err)
	}
}

func FuzzFLAC(f *testing.F) {
	f.Add([]byte("some samples, not many"), uint8(1), uint8(2), uint16(3))
	f.Add(bytes.Repeat([]byte{0x7f, 0xff, 0x80, 0x00}, 100), uint8(2), uint8(2), uint16(0xffff))
	f.Fuzz(func(t *testing.T, pcm []byte, channels, size uint8, number uint16) {
		track := &fragments.Track{ID: 1, Codec: fragments.LPCM, TimeScale: 8000, SampleRate: 8000, Channels: 1 + int(channels%8), BitDepth: 8 * (1 + int(size%3))}
		pcm = pcm[:len(pcm)-len(pcm)%(track.Channels*track.BitDepth/8)]
		part := cmaf.AppendPart(nil, track, 1, int64(number)<<40, []fragments.Sample{{Duration: uint32(len(pcm)), Key: true, Payload: [][]byte{pcm}}})
		data, err := cmaf.FLACRun(nil, track, part)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(decodeFLAC(t, track, data), pcm) {
			t.Fatal("not the same samples")
		}
	})
}

func BenchmarkFLACRun(b *testing.B) {
	c := encode(b, fragments.PCMU)
	track := *c.track
	track.ID = 1
	data := bytes.Join(parts(&track, 0, 10, c.samples), nil)
	b.Run("a second of PCMU", func(b *testing.B) {
		b.ReportAllocs()
		var dst []byte
		for b.Loop() {
			var err error
			if dst, err = cmaf.FLACRun(dst[:0], &track, data); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(dst)), "bytes/run")
	})
	b.Run("a second of PCMU by mewkiz", func(b *testing.B) {
		b.ReportAllocs()
		pcm := linear(&track, c.samples)
		for b.Loop() {
			var buf bytes.Buffer
			enc, err := flac.NewEncoder(&buf, &meta.StreamInfo{BlockSizeMin: 16, BlockSizeMax: 4608, SampleRate: 8000, NChannels: 1, BitsPerSample: 16})
			if err != nil {
				b.Fatal(err)
			}
			for i := 0; i < len(pcm)/2; i += 1600 {
				samples := make([]int32, 1600)
				for j := range samples {
					samples[j] = int32(int16(binary.BigEndian.Uint16(pcm[2*(i+j):])))
				}
				err := enc.WriteFrame(&frame.Frame{
					Header:    frame.Header{BlockSize: 1600, SampleRate: 8000, Channels: frame.ChannelsMono, BitsPerSample: 16},
					Subframes: []*frame.Subframe{{SubHeader: frame.SubHeader{Pred: frame.PredVerbatim}, Samples: samples, NSamples: 1600}},
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			if buf.Len() == 0 {
				b.Fatal("nothing written")
			}
		}
	})
}
