package hls_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
	"github.com/kineweir/kineweir/playback/hls"
	"github.com/kineweir/kineweir/playback/playbacktest"
)

var created = time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)

func newPackager(tb testing.TB, a hls.Archive, o hls.Options) *hls.Packager {
	tb.Helper()
	p, err := hls.New(a, o)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func TestSegmentsRunOnAcrossObjects(t *testing.T) {
	a := playbacktest.New()
	a.Create("front", created)
	v := playbacktest.Encode(t, 1, "-f lavfi -i testsrc2=size=160x90:rate=25:duration=10 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 25")
	s := playbacktest.Encode(t, 2, "-f lavfi -i sine=duration=10 -c:a aac")
	c := playbacktest.Cutter{Created: created, Start: 1000 * time.Hour, PerObject: 2, Number: fragments.Number{Epoch: 1}}
	cut := c.Cut(t, v, s)
	for _, f := range cut {
		f.AddTo(a, "front")
	}
	p := newPackager(t, a, hls.Options{})
	for _, count := range []int{1, 3} {
		next := map[int]int64{}
		for i := 0; i+count <= len(cut); i += count {
			e := cut[i].Entry
			for _, run := range e.Runs {
				r := hls.Request{Kind: hls.Segment, Born: created.UnixMilli(), Track: run.Track, Number: e.Number, Count: count}
				got, err := p.Content(context.Background(), "front", r)
				if err != nil {
					t.Fatal(err)
				}
				for part, err := range cmaf.Parts(got.Data) {
					if err != nil {
						t.Fatal(err)
					}
					if want, ok := next[run.Track]; ok && part.DecodeTime != want || part.TrackID != run.Track {
						t.Fatalf("%s, track %d: a part at %d, want %d", e.Number, run.Track, part.DecodeTime, want)
					}
					next[run.Track] = part.DecodeTime + part.Duration
				}
			}
		}
		if least := int64(1000*3600+9) * int64(v.Track.TimeScale); next[1] < least {
			t.Errorf("video ends at %d, before %d", next[1], least)
		}
	}
}

func TestContentErrors(t *testing.T) {
	a := playbacktest.New()
	a.Create("front", created)
	c := playbacktest.Cutter{Created: created, Number: fragments.Number{Epoch: 1}}
	m := playbacktest.Encode(t, 1, "-f lavfi -i sine=duration=2 -c:a libmp3lame -write_xing 0")
	cut := c.Cut(t, m)
	for _, f := range cut {
		f.AddTo(a, "front")
	}
	p := newPackager(t, a, hls.Options{})
	born := created.UnixMilli()
	for _, c := range []struct {
		name string
		req  hls.Request
		want error
	}{
		{"another stream of that name", hls.Request{Kind: hls.Segment, Born: 1, Track: 1, Number: cut[0].Entry.Number, Count: 1}, archive.ErrNoFragment},
		{"no such fragment", hls.Request{Kind: hls.Segment, Born: born, Track: 1, Number: fragments.Number{Epoch: 7}, Count: 1}, archive.ErrNoFragment},
		{"no such track", hls.Request{Kind: hls.Segment, Born: born, Track: 5, Number: cut[0].Entry.Number, Count: 1}, archive.ErrNoFragment},
		{"more fragments than there are", hls.Request{Kind: hls.Segment, Born: born, Track: 1, Number: cut[0].Entry.Number, Count: 900}, archive.ErrNoFragment},
		{"no such configuration", hls.Request{Kind: hls.Init, Born: born}, archive.ErrNoFragment},
	} {
		if _, err := p.Content(context.Background(), "front", c.req); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
	for _, kind := range []hls.Kind{hls.Init, hls.Fill, hls.Segment} {
		_, err := p.Content(context.Background(), "front", hls.Request{
			Kind: kind, Born: born, Track: 1, Number: cut[0].Entry.Number, Count: 1, Config: m.Track.Hash(), Start: 0, Length: 1000,
		})
		var refused *hls.NotPlayableError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), "MP3") {
			t.Errorf("kind %d of MP3: %v", kind, err)
		}
	}
}

// TestSegmentsBeginAtTheirFirstPicture plays video with B-frames, in fragments
// that begin with a key frame and in ones that begin with a B-frame: decode
// times run on, and stand at the first picture that is shown.
func TestSegmentsBeginAtTheirFirstPicture(t *testing.T) {
	a := playbacktest.New()
	a.Create("front", created)
	v := playbacktest.Encode(t, 1, "-f lavfi -i testsrc2=size=160x90:rate=25:duration=6 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 75 -bf 2 -b_strategy 0 -sc_threshold 0")
	cuts := 0
	for i := range v.Samples {
		if s := &v.Samples[i]; i%75 > 25 && s.Offset < v.Samples[0].Offset && cuts <= i/75 {
			s.Key = true // a B-frame; the cutter cuts here
			cuts++
		}
	}
	c := playbacktest.Cutter{Created: created, Start: time.Hour, Number: fragments.Number{Epoch: 1}}
	cut := c.Cut(t, v)
	if len(cut) != 4 {
		t.Fatalf("%d fragments, want 4", len(cut))
	}
	var next int64
	for i, f := range cut {
		f.Entry.Dependent = i%2 == 1
		f.AddTo(a, "front")
		p := newPackager(t, a, hls.Options{})
		got, err := p.Content(context.Background(), "front", hls.Request{Kind: hls.Segment, Born: created.UnixMilli(), Track: 1, Number: f.Entry.Number, Count: 1})
		if err != nil {
			t.Fatal(err)
		}
		at, first, shown := next, int64(0), int64(math.MaxInt64)
		for part, err := range cmaf.Parts(got.Data) {
			if err != nil {
				t.Fatal(err)
			}
			if at == next {
				first = part.DecodeTime
			}
			if i > 0 && part.DecodeTime != at {
				t.Errorf("fragment %d: a part at %d, want %d", i+1, part.DecodeTime, at)
			}
			at = part.DecodeTime
			for _, s := range part.Samples {
				shown = min(shown, at+int64(s.Offset))
				at += int64(s.Duration)
			}
		}
		if !f.Entry.Dependent && shown != first {
			t.Errorf("fragment %d is decoded from %d and shown from %d on", i+1, first, shown)
		}
		next = at
	}
	if want := int64(3600) * int64(v.Track.TimeScale); next-want != 6*int64(v.Track.TimeScale) {
		t.Errorf("ends %d ticks after its start, want 6 s", next-want)
	}
}

// TestSegmentsBeginWithSilence asks for silence before audio: it begins that
// much earlier, runs on into the sound without a hole, and decodes.
func TestSegmentsBeginWithSilence(t *testing.T) {
	for _, codec := range []string{"aac", "libopus"} {
		t.Run(codec, func(t *testing.T) {
			a := playbacktest.New()
			a.Create("front", created)
			m := playbacktest.Encode(t, 2, "-f lavfi -i sine=duration=2 -c:a "+codec)
			c := playbacktest.Cutter{Created: created, Start: time.Hour, Number: fragments.Number{Epoch: 1}}
			cut := c.Cut(t, m)
			cut[0].AddTo(a, "front")
			p := newPackager(t, a, hls.Options{})
			e := cut[0].Entry
			lead := int64(m.Track.TimeScale) * 3 / 10
			req := hls.Request{Kind: hls.Segment, Born: created.UnixMilli(), Track: 2, Number: e.Number, Count: 1, Lead: lead}
			got, err := p.Content(context.Background(), "front", req)
			if err != nil {
				t.Fatal(err)
			}
			next := e.Runs[0].DecodeTime - lead
			for part, err := range cmaf.Parts(got.Data) {
				if err != nil {
					t.Fatal(err)
				}
				if part.DecodeTime != next {
					t.Errorf("a part at %d, want %d", part.DecodeTime, next)
				}
				next = part.DecodeTime + part.Duration
			}
			if want := e.Runs[0].DecodeTime + e.Runs[0].Duration; next != want {
				t.Errorf("ends at %d, want %d", next, want)
			}
			req.Lead = 3600 * int64(m.Track.TimeScale)
			if _, err := p.Content(context.Background(), "front", req); !errors.Is(err, archive.ErrNoFragment) {
				t.Errorf("an hour of silence: %v", err)
			}
			init, err := p.Content(context.Background(), "front", hls.Request{Kind: hls.Init, Born: req.Born, Config: m.Track.Hash()})
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "lead.mp4")
			if err := os.WriteFile(file, append(bytes.Clone(init.Data), got.Data...), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, report := playbacktest.Tool(t, "ffmpeg", strings.Fields("-v warning -i "+file+" -f null -")...); report != "" {
				t.Errorf("ffmpeg: %s", report)
			}
		})
	}
}

// TestSilenceDecodes writes silence of every codec that can be filled and has
// ffmpeg decode it: exactly as long as asked for, without a sound.
func TestSilenceDecodes(t *testing.T) {
	aac := func(channels int) *fragments.Track {
		return &fragments.Track{ID: 2, Codec: fragments.AAC, TimeScale: 48000, SampleRate: 48000, Channels: channels, Params: [][]byte{{0x11, 0x80 | byte(channels<<3)}}}
	}
	for _, c := range []struct {
		name  string
		track *fragments.Track
	}{
		{"AAC mono", aac(1)},
		{"AAC stereo", aac(2)},
		{"AAC 3", aac(3)},
		{"AAC 4", aac(4)},
		{"AAC 5", aac(5)},
		{"AAC 5.1", aac(6)},
		{"Opus mono", &fragments.Track{ID: 2, Codec: fragments.Opus, TimeScale: 48000, SampleRate: 48000, Channels: 1}},
		{"Opus stereo", &fragments.Track{ID: 2, Codec: fragments.Opus, TimeScale: 48000, SampleRate: 48000, Channels: 2}},
		{"mu-law", &fragments.Track{ID: 2, Codec: fragments.PCMU, TimeScale: 8000, SampleRate: 8000, Channels: 1}},
		{"A-law", &fragments.Track{ID: 2, Codec: fragments.PCMA, TimeScale: 8000, SampleRate: 8000, Channels: 1}},
		{"linear PCM", &fragments.Track{ID: 2, Codec: fragments.LPCM, TimeScale: 16000, SampleRate: 16000, Channels: 2, BitDepth: 16}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := playbacktest.New()
			a.Create("front", created)
			a.Add("front", &archive.Entry{}, nil, c.track)
			p := newPackager(t, a, hls.Options{})
			req := hls.Request{Kind: hls.Init, Born: created.UnixMilli(), Config: c.track.Hash()}
			init, err := p.Content(context.Background(), "front", req)
			if err != nil {
				t.Fatal(err)
			}
			scale := int64(c.track.TimeScale)
			req.Kind, req.Start, req.Length = hls.Fill, 5*scale, 2*scale-scale/200
			fill, err := p.Content(context.Background(), "front", req)
			if err != nil {
				t.Fatal(err)
			}
			length := int64(0)
			for part, err := range cmaf.Parts(fill.Data) {
				if err != nil {
					t.Fatal(err)
				}
				if part.DecodeTime != req.Start {
					t.Errorf("begins at %d, want %d", part.DecodeTime, req.Start)
				}
				length += part.Duration
			}
			if length != req.Length {
				t.Errorf("lasts %d ticks, want %d", length, req.Length)
			}
			file := filepath.Join(t.TempDir(), "silence.mp4")
			if err := os.WriteFile(file, append(bytes.Clone(init.Data), fill.Data...), 0o600); err != nil {
				t.Fatal(err)
			}
			_, report := playbacktest.Tool(t, "ffmpeg", strings.Fields("-hide_banner -i "+file+" -af volumedetect -f null -")...)
			peak := "max_volume: -91.0 dB" // what ffmpeg calls 0
			if c.track.Codec == fragments.PCMA {
				peak = "max_volume: -72.2 dB" // A-law has no 0; a constant is as quiet
			}
			if strings.Contains(report, "rror") || !strings.Contains(report, peak) {
				t.Errorf("ffmpeg: %s", report)
			}
		})
	}
}
