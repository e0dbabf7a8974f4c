package fragments

import (
	"slices"
	"time"
)

// run gathers the samples of one track of the open fragment.
type run struct {
	Run
	hold    placed // the newest unit: its duration is known when the next comes
	holding bool
	samples []Sample // of the part being gathered
	start   int64    // decode time of samples[0]
	ticks   int64    // their duration
}

// append adds p to the run of its track.
func (f *Fragmenter) append(p placed, ts *trackState, isLead bool) {
	r := f.run(p)
	if r == nil {
		if isLead {
			// The first unit of the leading track decides what the fragment is.
			f.cur.Dependent = !p.au.Key
			f.cur.Producer = p.au.Capture
		}
		f.runs = append(f.runs, &run{Run: Run{Track: ts.track, DecodeTime: p.dts}, hold: p, holding: true})
		f.curBytes += p.au.Size()
		return
	}
	d := p.dts - r.hold.dts
	usual := r.hold.usual()
	gap := r.Track.Kind() != KindVideo && usual > 0 && d > 2*usual
	if gap {
		d = usual // a hole in the sound stays a hole
	}
	f.release(r, d)
	if gap {
		f.cutPart(r)
	}
	r.hold, r.holding = p, true
	f.curBytes += p.au.Size()
}

// usual returns how long the unit is when the next one does not tell.
func (p *placed) usual() int64 {
	if p.duration > 0 {
		return p.duration
	}
	return p.typical
}

// release makes a sample of the held unit, d ticks long.
func (f *Fragmenter) release(r *run, d int64) {
	p := r.hold
	if len(r.samples) == 0 {
		r.start = p.dts
	}
	r.samples = append(r.samples, Sample{
		Duration: uint32(min(max(d, 0), 1<<32-1)),
		Offset:   uint32(min(max(p.pts-p.dts, 0), 1<<31-1)),
		Key:      p.au.Key,
		Payload:  p.au.Payload,
	})
	r.ticks += max(d, 0)
	r.hold, r.holding = placed{}, false
	// To the nearest whole number of units: where time stamps waver, one threshold
	// at the length itself would make parts of n and of n+1 units in turn, which
	// differ by more than the parts of a playlist may (RFC 8216bis, 4.4.4.9).
	length := ticksDuration(r.ticks, int64(r.Track.TimeScale))
	if length+length/time.Duration(2*len(r.samples)) > f.o.PartDuration {
		f.cutPart(r)
	}
}

// cutPart encodes the gathered samples.
func (f *Fragmenter) cutPart(r *run) {
	if len(r.samples) == 0 {
		return
	}
	ts := f.tracks[r.Track.ID]
	ts.sequence++
	p := &Part{
		Track: r.Track, Sequence: ts.sequence, DecodeTime: r.start, Duration: r.ticks,
		Samples: r.samples, Independent: r.samples[0].Key, Last: f.ending,
	}
	p.Data = f.o.Encode(r.Track, p.Sequence, p.DecodeTime, p.Samples)
	r.Parts = append(r.Parts, p)
	r.Run.Samples += len(p.Samples)
	r.Bytes += len(p.Data)
	r.samples, r.ticks = nil, 0
	f.out.Part(f.cur, p)
}

// finish closes the open fragment. The held unit of track ends at end; those
// of the other tracks, and all when end is negative, have their usual length.
func (f *Fragmenter) finish(track int, end int64) {
	if f.cur == nil {
		return
	}
	f.ending = true
	defer func() { f.ending = false }()
	for _, r := range f.runs {
		if !r.holding {
			continue
		}
		d := r.hold.usual()
		if r.Track.ID == track && end > r.hold.dts {
			d = end - r.hold.dts
		}
		f.release(r, d)
	}
	for _, r := range f.runs {
		f.cutPart(r)
		last := r.Parts[len(r.Parts)-1]
		r.Run.Duration = last.DecodeTime + last.Duration - r.DecodeTime
	}
	slices.SortFunc(f.runs, func(a, b *run) int {
		if ka, kb := order(a.Track), order(b.Track); ka != kb {
			return ka - kb
		}
		return a.Track.ID - b.Track.ID
	})
	for _, r := range f.runs {
		f.cur.Runs = append(f.cur.Runs, r.Run)
		d := ticksDuration(r.Run.Duration, int64(r.Track.TimeScale))
		if r.Track.ID == f.lead || f.cur.Duration == 0 {
			f.cur.Duration = d
		}
	}
	cur := f.cur
	f.cur, f.runs = nil, nil
	f.out.End(cur)
}

// order puts video before audio before the rest.
func order(t *Track) int {
	switch t.Kind() {
	case KindVideo:
		return 0
	case KindAudio:
		return 1
	}
	return 2
}
