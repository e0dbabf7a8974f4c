package hls

import (
	"math"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
	"github.com/kineweir/kineweir/playback"
)

func newConfig(h fragments.ConfigHash, t *fragments.Track) config {
	c := config{hash: h, track: t, refused: cmaf.Playable(t)}
	if c.refused != nil {
		return c
	}
	served := t
	if cmaf.PlaysAsFLAC(t) {
		if served, c.refused = cmaf.FLACTrack(t); c.refused != nil {
			return c
		}
	}
	c.codec, c.refused = cmaf.CodecString(served)
	_, c.fill = playback.SilenceOf(t)
	return c
}

// timeScale is that of the segments.
func (c *config) timeScale() uint32 { return c.track.TimeScale }

// rates are what the index tells of a configuration of a track: bits per second
// and frames per second.
type rates struct {
	peak, average int64
	frames        float64
}

// measure returns the rates of a line, in the given configuration or (missing)
// in all. The peak is that of RFC 8216 section 4.3.4.2: the largest rate of any
// contiguous segments that last between 0.5 and 1.5 target durations.
func (t *timeline) measure(l *line, use int32) rates {
	target := t.target * int64(time.Second)
	var r rates
	var bytes, duration, frames, framesDuration int64
	for i := range l.cells {
		c := &l.cells[i]
		if c.config == missing {
			continue
		}
		bytes, duration = bytes+c.bytes, duration+c.duration
		if use == missing || c.config == use {
			frames, framesDuration = frames+int64(c.samples), framesDuration+c.duration
		}
		var sum, span int64
		for k := i; k < len(l.cells) && l.cells[k].config != missing; k++ {
			sum, span = sum+l.cells[k].bytes, span+l.cells[k].duration
			if span > target*3/2 {
				break
			}
			if span >= target/2 && span > 0 {
				r.peak = max(r.peak, bitRate(sum, span))
			}
		}
	}
	r.average = bitRate(bytes, duration)
	r.peak = max(r.peak, r.average)
	if framesDuration > 0 {
		r.frames = roundRate(float64(frames) * float64(time.Second) / float64(framesDuration))
	}
	return r
}

// bitRate returns bits per second, rounded up.
func bitRate(bytes, ns int64) int64 {
	if ns <= 0 {
		return 0
	}
	return int64(math.Ceil(float64(bytes) * 8e9 / float64(ns)))
}

// roundRate gives a measured frame rate the exact value it stands for: the
// nearer of a whole number and one divided by 1.001, when that is within 0.15 %,
// for decode times are slewed to follow the clock of the publisher.
func roundRate(f float64) float64 {
	whole, ntsc := math.Round(f), math.Round(f*1.001)/1.001
	exact := whole
	if math.Abs(f-ntsc) < math.Abs(f-whole) {
		exact = ntsc
	}
	if math.Abs(f-exact) <= exact*1.5e-3 {
		return exact
	}
	return f
}
