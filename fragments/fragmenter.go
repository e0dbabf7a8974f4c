package fragments

import (
	"slices"
	"time"
)

// FragmenterOptions say where to cut. The zero value of every field but
// Created and Encode stands for its default.
type FragmenterOptions struct {
	// Created is the origin of decode times: the creation of the stream stands at
	// 2 s.
	Created time.Time
	// MinDuration is the least length of a fragment that ends at a key frame;
	// default 1 s.
	MinDuration time.Duration
	// MaxDuration cuts a fragment that meets no key frame; default 10 s.
	MaxDuration time.Duration
	// MaxBytes of payload cut a fragment; default 32 MiB.
	MaxBytes int
	// PartDuration is the length of a part; default 200 ms.
	PartDuration time.Duration
	// MaxGap is the longest silence of the leading track that is not marked as a
	// discontinuity; default 3 s, and never less than four frames.
	MaxGap time.Duration
	// Encode makes one moof and mdat of samples; see cmaf.AppendPart.
	Encode func(t *Track, sequence uint32, decodeTime int64, samples []Sample) []byte
}

func (o FragmenterOptions) withDefaults() FragmenterOptions {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&o.MinDuration, time.Second)
	def(&o.MaxDuration, 10*time.Second)
	def(&o.PartDuration, 200*time.Millisecond)
	def(&o.MaxGap, 3*time.Second)
	if o.MaxBytes <= 0 {
		o.MaxBytes = 32 << 20
	}
	return o
}

// Cutter receives what the Fragmenter cuts, in order. Begin may set the number
// of the fragment; its times, flags and runs are complete at End.
type Cutter interface {
	Begin(f *Fragment)
	Part(f *Fragment, p *Part)
	End(f *Fragment)
}

// How far the time line may be from the publisher's clock before it steps, at
// the next key frame and marked as a discontinuity, instead of being slewed.
const (
	stepArrival = 500 * time.Millisecond // arrival times jitter
	stepReport  = 100 * time.Millisecond
	stepSwitch  = 20 * time.Millisecond // when the first report replaces arrival times
)

// Fragmenter cuts the access units of one publisher into parts and fragments.
// It is used by one goroutine.
//
//   - A fragment begins at a key frame of the leading track (the first video
//     track, else the first track) and ends at the next one once MinDuration has
//     passed. Until the first key frame of a session everything is skipped, for
//     at most MaxDuration.
//   - It is cut short at MaxDuration, at MaxBytes, at a change of a track's
//     configuration and at a discontinuity. A fragment that then begins without
//     a key frame is marked Dependent, and ends at the next key frame.
//   - Decode times are capture times counted from the creation of the stream,
//     slewed by at most 500 ppm towards the publisher's clock. A larger error is
//     corrected in one step at the next key frame, as is a jump of time stamps at
//     once: both mark the fragment as a Discontinuity.
type Fragmenter struct {
	o      FragmenterOptions
	out    Cutter
	tracks map[int]*trackState
	lead   int // track ID
	origin origin
	merge  interleaver

	step     bool   // step at the next key frame of the leading track
	broken   bool   // the next fragment is a discontinuity
	begun    bool   // a fragment has been opened in this session
	waited   int64  // ns: decode time of the first skipped unit + 1
	skipped  uint64 // units before the first key frame
	cur      *Fragment
	curBytes int
	ending   bool // cur is being closed: what is cut comes last
	runs     []*run
}

type trackState struct {
	line     *timeline
	track    *Track // newest configuration
	hash     ConfigHash
	sequence uint32
}

// NewFragmenter returns a Fragmenter for a publisher with the given tracks.
func NewFragmenter(tracks []*Track, o FragmenterOptions, out Cutter) *Fragmenter {
	f := &Fragmenter{o: o.withDefaults(), out: out, tracks: map[int]*trackState{}}
	f.origin.created = o.Created.UnixNano()
	f.merge.maxWait = int64(defaultMaxWait)
	f.lead = leading(tracks)
	for _, t := range tracks {
		f.state(t)
	}
	return f
}

// leading returns the ID of the track that decides where fragments begin.
func leading(tracks []*Track) int {
	for _, k := range [...]Kind{KindVideo, KindAudio, KindOther} {
		for _, t := range tracks {
			if t.Kind() == k {
				return t.ID
			}
		}
	}
	return 0
}

// Skipped returns how many access units came before the first key frame.
func (f *Fragmenter) Skipped() uint64 { return f.skipped }

// Push feeds one access unit. It never fails.
func (f *Fragmenter) Push(au *AccessUnit) {
	ts := f.state(au.Track)
	isLead := au.Track.ID == f.lead
	started := ts.line.started
	limit := stepLimit(au.Source, started && ts.line.source != au.Source)
	if isLead && au.Key && started && (f.step || ts.line.drift(au, f.o.MaxGap).Abs() > limit) {
		f.restart(au)
	}
	p, drift := ts.line.place(au, f.o.MaxGap)
	if drift.Abs() > limit {
		f.step = true
	}
	if p.broken && isLead {
		// What was before the jump comes out first; the other tracks follow.
		f.drain(true)
		f.merge.restart(p.at)
		for id, t := range f.tracks {
			t.line.anchor = id != f.lead
		}
	}
	if !started && len(f.merge.queues) == 0 {
		f.expectTracks(p.at)
	}
	f.merge.put(p)
	f.drain(false)
}

// Flush ends the session: what is held comes out, the open fragment is closed.
func (f *Fragmenter) Flush() {
	f.drain(true)
	f.finish(-1, 0)
}

func stepLimit(s ClockSource, switched bool) time.Duration {
	switch {
	case switched:
		return stepSwitch
	case s == FromReport:
		return stepReport
	}
	return stepArrival
}

func (f *Fragmenter) state(t *Track) *trackState {
	ts := f.tracks[t.ID]
	if ts == nil {
		if f.lead == 0 {
			f.lead = t.ID
		}
		ts = &trackState{line: newTimeline(t, &f.origin), track: t, hash: t.Hash()}
		ts.line.leads = t.ID == f.lead
		f.tracks[t.ID] = ts
	}
	return ts
}

func (f *Fragmenter) expectTracks(at int64) {
	for id := range f.tracks {
		f.merge.expect(id, at)
	}
	slices.SortFunc(f.merge.queues, func(a, b queue) int { return a.track - b.track })
}

// restart lets the time lines of all tracks step, at a key frame.
func (f *Fragmenter) restart(au *AccessUnit) {
	f.drain(true)
	for _, t := range f.tracks {
		t.line.anchor = true
	}
	f.step, f.broken = false, true
	f.origin.settle(au)
	line := f.tracks[au.Track.ID].line
	f.merge.restart(int64(line.duration(line.captureTicks(au))))
}

func (f *Fragmenter) drain(all bool) {
	for {
		p, ok := f.merge.next(all)
		if !ok {
			return
		}
		f.add(p)
	}
}

// add puts the next unit into the open fragment, or into a new one.
func (f *Fragmenter) add(p placed) {
	ts := f.tracks[p.au.Track.ID]
	changed := false
	if p.au.Track != ts.track {
		h := p.au.Track.Hash()
		changed = h != ts.hash
		ts.track, ts.hash = p.au.Track, h
	}
	isLead := p.au.Track.ID == f.lead
	if f.cur == nil {
		if !f.mayBegin(p, isLead) {
			f.skipped++
			return
		}
		f.begin(p)
	} else if back := f.goesBack(p); back || f.mustCut(p, isLead, changed) {
		f.broken = f.broken || back
		end := int64(-1)
		if isLead && !p.broken && !f.broken {
			end = p.dts
		}
		f.finish(f.lead, end)
		f.begin(p)
	}
	f.append(p, ts, isLead)
}

// mayBegin reports whether the first fragment of a session may begin at p.
func (f *Fragmenter) mayBegin(p placed, isLead bool) bool {
	if f.begun || isLead && p.au.Key {
		return true
	}
	if f.waited == 0 {
		f.waited = p.at + 1
	}
	return p.at-f.waited >= int64(f.o.MaxDuration)
}

func (f *Fragmenter) mustCut(p placed, isLead, changed bool) bool {
	elapsed := f.elapsed(p)
	switch {
	case changed, elapsed >= f.o.MaxDuration:
		return true
	case f.curBytes > 0 && f.curBytes+p.au.Size() > f.o.MaxBytes:
		return true
	case isLead && (p.broken || f.broken):
		return true
	}
	// Half a frame of tolerance: a group of pictures as long as MinDuration makes
	// a fragment even where its time stamps waver.
	half := ticksDuration(p.typical, int64(p.au.Track.TimeScale)) / 2
	return isLead && p.au.Key && (f.cur.Dependent && f.run(p) != nil || elapsed+half >= f.o.MinDuration)
}

// goesBack reports whether p is decoded before what the open fragment has of its
// track already: its time line has stepped back, ahead of the leading track's.
func (f *Fragmenter) goesBack(p placed) bool {
	r := f.run(p)
	return r != nil && r.holding && p.dts <= r.hold.dts
}

// run returns what the open fragment has of the track of p, or nil.
func (f *Fragmenter) run(p placed) *run {
	for _, r := range f.runs {
		if r.Track.ID == p.au.Track.ID {
			return r
		}
	}
	return nil
}

// elapsed returns how long the open fragment already is, by the track of p: the
// times of another track may be anywhere.
func (f *Fragmenter) elapsed(p placed) time.Duration {
	if r := f.run(p); r != nil {
		return time.Duration(p.at) - ticksDuration(r.DecodeTime, int64(r.Track.TimeScale))
	}
	return 0
}

func (f *Fragmenter) begin(p placed) {
	f.cur = &Fragment{
		Producer: p.au.Capture, Server: p.au.Arrival,
		Dependent:     true,
		Discontinuity: f.broken || p.broken,
	}
	f.curBytes, f.runs = 0, nil
	f.broken, f.begun = false, true
	f.out.Begin(f.cur)
}
