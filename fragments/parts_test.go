package fragments

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// partLengths keeps the lengths of parts that are not the last of their fragment.
type partLengths struct {
	scale  int64
	open   []time.Duration
	lasted []time.Duration
	last   bool // the newest part says so
	wrong  int  // parts that said so and were not, and fragments that ended without
}

func (p *partLengths) Begin(*Fragment) { p.open, p.last = nil, false }

func (p *partLengths) Part(_ *Fragment, part *Part) {
	p.open = append(p.open, ticksDuration(part.Duration, p.scale))
	if p.last {
		p.wrong++
	}
	p.last = part.Last
}

func (p *partLengths) End(*Fragment) {
	p.lasted = append(p.lasted, p.open[:len(p.open)-1]...)
	if !p.last {
		p.wrong++
	}
}

// The parts of one track are alike: one part target fits, which none exceeds and
// of which none but the last of a segment has less than 85 % (RFC 8216bis,
// 4.4.4.9), also where time stamps waver by some milliseconds.
func TestPartsAreAlike(t *testing.T) {
	for _, c := range []struct {
		name   string
		codec  Codec
		scale  uint32
		step   float64 // ticks
		jitter int64   // ticks, to either side
		want   time.Duration
	}{
		{"60 fps", H264, 90000, 1500, 180, 200 * time.Millisecond},
		{"50 fps", H264, 90000, 1800, 180, 200 * time.Millisecond},
		{"30 fps", H264, 90000, 3000, 270, 200 * time.Millisecond},
		{"29.97 fps", H264, 90000, 3003, 270, 200200 * time.Microsecond},
		{"25 fps", H264, 90000, 3600, 270, 200 * time.Millisecond},
		{"24 fps", H264, 90000, 3750, 270, 208333 * time.Microsecond},
		{"20 fps", H264, 90000, 4500, 270, 200 * time.Millisecond},
		{"15 fps", H264, 90000, 6000, 270, 200 * time.Millisecond},
		{"12 fps", H264, 90000, 7500, 270, 166667 * time.Microsecond},
		{"10 fps", H264, 90000, 9000, 270, 200 * time.Millisecond},
		{"8 fps", H264, 90000, 11250, 270, 250 * time.Millisecond},
		{"5 fps", H264, 90000, 18000, 270, 200 * time.Millisecond},
		{"AAC 48 kHz", AAC, 48000, 1024, 0, 192 * time.Millisecond},
		{"AAC 44.1 kHz", AAC, 44100, 1024, 0, 208980 * time.Microsecond},
		{"AAC 16 kHz", AAC, 16000, 1024, 0, 192 * time.Millisecond},
		{"AAC 8 kHz", AAC, 8000, 1024, 0, 256 * time.Millisecond},
		{"Opus", Opus, 48000, 960, 0, 200 * time.Millisecond},
		{"G.711 of 20 ms", PCMA, 8000, 160, 0, 200 * time.Millisecond},
		{"G.711 of 40 ms", PCMA, 8000, 320, 0, 200 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			track := &Track{ID: 1, Codec: c.codec, TimeScale: c.scale}
			out := &partLengths{scale: int64(c.scale)}
			created := time.Unix(1_800_000_000, 0)
			f := NewFragmenter([]*Track{track}, FragmenterOptions{
				Created: created, Encode: func(*Track, uint32, int64, []Sample) []byte { return nil },
			}, out)
			rng := rand.New(rand.NewPCG(1, 2))
			group := int(2*float64(c.scale)/c.step + 0.5)
			for i := range 30 * group {
				pts := int64(float64(i) * c.step)
				if c.jitter > 0 {
					pts += rng.Int64N(2*c.jitter) - c.jitter
				}
				length := int64(0) // publishers of video do not tell
				if track.Kind() == KindAudio {
					length = int64(c.step)
				}
				at := created.Add(time.Second + ticksDuration(pts, int64(c.scale)))
				f.Push(&AccessUnit{
					Track: track, PTS: pts, DTS: NoDTS, Duration: length, Key: i%group == 0, Payload: [][]byte{{1}},
					Capture: ProducerTime(at), Arrival: ServerTime(at), Source: FromReport,
				})
			}
			f.Flush()
			if out.wrong > 0 {
				t.Errorf("%d times the last part of a fragment was another one than the one that says so", out.wrong)
			}
			slices.Sort(out.lasted)
			n := len(out.lasted)
			if n < 100 {
				t.Fatalf("%d parts", n)
			}
			least, usual, most := out.lasted[0], out.lasted[n/2], out.lasted[n-1]
			if d := usual - c.want; d.Abs() > 3*time.Millisecond {
				t.Errorf("a part lasts %v, want %v", usual, c.want)
			}
			target := usual * 108 / 100
			if most > target || float64(least) < 0.85*float64(target) {
				t.Errorf("parts last %v to %v, which no target near %v allows", least, most, target)
			}
		})
	}
}
