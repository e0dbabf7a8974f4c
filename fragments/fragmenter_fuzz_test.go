package fragments

import (
	"encoding/binary"
	"math"
	"testing"
	"time"
)

// FuzzFragmenter feeds access units with any time stamps at all: nothing may
// panic, and every unit comes out once or is counted as skipped.
func FuzzFragmenter(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03 a few bytes of anything to start from, long enough for some units"))
	f.Add(make([]byte, 400))
	f.Fuzz(func(t *testing.T, data []byte) {
		tracks := []*Track{
			{ID: 1, Codec: H264, TimeScale: 90000, Reorder: -1},
			{ID: 2, Codec: AAC, TimeScale: 44100},
		}
		out := &counter{t: t}
		fr := NewFragmenter(tracks, FragmenterOptions{Created: scriptEpoch, Encode: func(*Track, uint32, int64, []Sample) []byte { return nil }}, out)
		pts, capture, n := int64(0), scriptEpoch.UnixNano(), 0
		for ; len(data) >= 6; n++ {
			au := &AccessUnit{Track: tracks[data[0]&1], Key: data[0]&2 != 0, DTS: NoDTS, Payload: [][]byte{data[:1]}}
			if data[0]&4 != 0 {
				au.Source = FromReport
			}
			step := int64(int16(binary.BigEndian.Uint16(data[1:])))
			drift := int64(int16(binary.BigEndian.Uint16(data[3:])))
			switch data[5] & 15 {
			case 0:
				pts, capture = pts+step<<48, capture+drift<<47
			case 1:
				pts = math.MinInt64 + step
			case 2:
				capture = math.MaxInt64 - drift
			case 3:
				au.DTS = pts - step
			default:
				pts, capture = pts+step, capture+int64(time.Millisecond)*drift
			}
			au.PTS, au.Capture, au.Arrival = pts, ProducerTimestamp(capture), ServerTimestamp(scriptEpoch.UnixNano()+int64(n))
			fr.Push(au)
			data = data[6:]
		}
		fr.Flush()
		if out.samples+int(fr.Skipped()) != n {
			t.Fatalf("%d units in, %d out, %d skipped", n, out.samples, fr.Skipped())
		}
	})
}

type counter struct {
	t              testing.TB
	samples, parts int
}

func (c *counter) Begin(*Fragment) {}
func (c *counter) Part(_ *Fragment, p *Part) {
	c.samples += len(p.Samples)
	c.parts++
}

func (c *counter) End(f *Fragment) {
	for _, r := range f.Runs {
		const absurd = 1 << 50 // ticks, 397 years of 90 kHz; what is far beyond overflows
		if r.DecodeTime < 0 || len(r.Parts) == 0 || r.Duration < 0 && r.Duration > -absurd && r.DecodeTime < absurd {
			c.t.Errorf("track %d: run of %d ticks at %d, %d parts", r.Track.ID, r.Duration, r.DecodeTime, len(r.Parts))
		}
	}
}

// BenchmarkFragmenter cuts a minute of 25 fps video and 48 kHz sound per
// iteration, without encoding.
func BenchmarkFragmenter(b *testing.B) {
	s := parseScript(&testing.T{}, `
track 1 H264 90000 reorder=0
track 2 AAC 48000
push 1 from=0s n=1500 every=40ms key=50 size=10000
push 2 from=0s n=2812 every=21.333333ms duration=1024 size=170`)
	feed := s.feed(0, 0)
	o := s.options
	o.Encode = func(*Track, uint32, int64, []Sample) []byte { return nil }
	b.ReportAllocs()
	for b.Loop() {
		fr := NewFragmenter(s.tracks, o, &counter{t: b})
		for _, au := range feed {
			fr.Push(au)
		}
		fr.Flush()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(feed)), "ns/unit")
}
