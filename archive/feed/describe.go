package feed

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
)

// describer makes the records of one worker, with buffers of its own.
type describer struct {
	archive Archive
	limit   int
	media   []byte
	frames  [][]Frame // by run
	size    int       // of the last record
}

// record returns the record of a fragment, in bytes of its own.
func (d *describer) record(ctx context.Context, name fragments.StreamName, e *archive.Entry) ([]byte, error) {
	r := Record{
		V: Version, Type: TypeFragment, Stream: name, Number: e.Number,
		ProducerStart: e.Producer.Time(), ProducerEnd: e.End().Time(),
		ServerStart: e.Server.Time(), ServerEnd: e.Server.Time().Add(e.Duration),
		DurationMs: e.Duration.Milliseconds(), Bytes: e.Size,
		Dependent: e.Dependent, Discontinuity: e.Discontinuity, Tracks: make([]Track, len(e.Runs)),
	}
	var damage error
	origin := int64(math.MaxInt64) // of the leading track, which comes first
	for i := range e.Runs {
		r.Tracks[i] = d.track(name, &e.Runs[i])
		frames, err := d.read(ctx, name, e, i)
		var damaged *archive.DamagedError
		var format *cmaf.FormatError
		if err != nil && !errors.As(err, &damaged) && !errors.As(err, &format) {
			return nil, err
		}
		damage = errors.Join(damage, err)
		if i == 0 {
			for _, f := range frames {
				origin = min(origin, f.PTS)
			}
			if len(frames) == 0 {
				origin = 0
			}
		}
		for j := range frames {
			frames[j].PTS -= origin
		}
		r.Tracks[i].Frames = frames
	}
	if damage != nil {
		r.FramesLeftOut = LeftOutDamaged
		for i := range r.Tracks {
			r.Tracks[i].Frames = nil
		}
	}
	out := r.fit(make([]byte, 0, d.size+d.size/8), d.limit-len(name))
	d.size = len(out)
	if damage != nil {
		return out, &damageError{damage}
	}
	return out, nil
}

// damageError comes with a record that lacks its frames.
type damageError struct{ error }

func (d *describer) track(name fragments.StreamName, run *archive.EntryRun) Track {
	t := Track{ID: run.Track, Kind: run.Kind.String(), Samples: run.Samples, Bytes: run.Size}
	if c, err := d.archive.Track(name, run.Config); err == nil {
		t.Codec, t.Width, t.Height, t.SampleRate, t.Channels = string(c.Codec), c.Width, c.Height, c.SampleRate, c.Channels
		if c.CodecID != "" {
			t.Codec = c.CodecID
		}
	}
	return t
}

// read reads the table of frames of a run; the times count, in microseconds,
// from the base of the object.
func (d *describer) read(ctx context.Context, name fragments.StreamName, e *archive.Entry, run int) ([]Frame, error) {
	data, err := d.archive.ReadRunInto(ctx, name, e, run, d.media)
	if err != nil {
		return nil, err
	}
	if cap(data) <= maxKeptBuffer {
		d.media = data
	}
	for len(d.frames) <= run {
		d.frames = append(d.frames, nil)
	}
	frames, scale := d.frames[run][:0], int64(e.Runs[run].TimeScale)
	sound := e.Runs[run].Kind == fragments.KindAudio
	for p, err := range cmaf.Parts(data) {
		if err != nil {
			return nil, fmt.Errorf("stream %s, fragment %s: %w", name, e.Number, err)
		}
		at := p.DecodeTime
		for i := range p.Samples {
			s := &p.Samples[i]
			frames = append(frames, Frame{PTS: micros(at+int64(s.Offset), scale), Size: s.Size, Key: s.Key && !sound})
			at += int64(s.Duration)
		}
	}
	if cap(frames) <= maxKeptFrames {
		d.frames[run] = frames
	}
	return frames, nil
}

// What a worker keeps between fragments.
const (
	maxKeptBuffer = 4 << 20 // bytes
	maxKeptFrames = 16 << 10
)

// micros converts ticks to microseconds, rounded down, without overflow on the
// way.
func micros(ticks, scale int64) int64 {
	scale = max(scale, 1)
	whole, rest := ticks/scale, ticks%scale
	if rest < 0 {
		whole, rest = whole-1, rest+scale
	}
	return whole*1_000_000 + rest*1_000_000/scale
}
