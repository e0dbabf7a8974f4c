package image

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
	"github.com/kineweir/kineweir/playback"
)

// frame is one frame, not decoded.
type frame struct {
	payload  [][]byte
	pts      int64 // ticks, comparable within a shot
	duration int64 // ticks
	key      bool
	time     time.Time // filmed
	server   time.Time // arrived
	number   fragments.Number
}

func (f *frame) at(c fragments.Clock) time.Time {
	if c == fragments.ByServer {
		return f.server
	}
	return f.time
}

// shot is one frame and what has to be decoded before it.
type shot struct {
	track  *fragments.Track
	stored bool // payloads are as in MP4 files
	// frames are in decode order; the first is a key frame and the last is the
	// one that is wanted.
	frames []frame
	time   time.Time // of the last
}

func (s *shot) target() *frame { return &s.frames[len(s.frames)-1] }

// sameShot reports whether two shots are of one frame.
func sameShot(a, b *shot) bool {
	x, y := a.target(), b.target()
	return x.number == y.number && x.pts == y.pts && a.track.Hash() == b.track.Hash()
}

// Bounds of what is read and fed for one picture. A frame that needs more lies
// minutes behind its key frame.
const (
	maxFeed = 96 << 20 // bytes
	// held is how long a frame counts as shown after its fragment has ended: time
	// stamps of cameras have small holes.
	held = 500 * time.Millisecond
	// slack is how much later than asked for a frame may be shown: an instant is
	// often the time of a frame, cut to milliseconds.
	slack = time.Millisecond - 1
)

// size returns the bytes of the frames.
func (s *shot) size() (n int) {
	for i := range s.frames {
		n += s.frames[i].size()
	}
	return n
}

// begins reports whether two shots begin with the same frame.
func (s *shot) begins(o *shot) bool {
	return s.stored == o.stored && s.frames[0].number == o.frames[0].number && s.frames[0].pts == o.frames[0].pts
}

// findInTime is find, which waits for the store no longer than for the decoder.
func (m *Maker) findInTime(ctx context.Context, name fragments.StreamName, info archive.StreamInfo, r *Request) (*shot, error) {
	timed, cancel := context.WithTimeout(ctx, m.o.Timeout)
	defer cancel()
	s, err := m.find(timed, name, info, r)
	if err != nil && timed.Err() != nil && ctx.Err() == nil {
		return nil, &SlowError{Stream: name, After: m.o.Timeout, Err: err}
	}
	return s, err
}

// find finds the shot of an instant in the archive, of the newest when it is
// zero.
func (m *Maker) find(ctx context.Context, name fragments.StreamName, info archive.StreamInfo, r *Request) (*shot, error) {
	f := &finder{m: m, ctx: ctx, name: name, r: r, t: r.Time.Add(slack)}
	if r.Time.IsZero() {
		f.t = playback.Stamp(info.Last, r.Clock).Add(info.Last.Duration)
		f.newest = info.Last.Number
	}
	s, err := f.find()
	if s != nil || err != nil {
		return s, err
	}
	near, err := f.nearest(info)
	if err != nil {
		return nil, err
	}
	if near.IsZero() {
		return nil, &NoVideoError{name, r.Video}
	}
	return nil, &NothingError{Stream: name, Asked: r.Time, Nearest: near}
}

// finder looks for one frame.
type finder struct {
	m      *Maker
	ctx    context.Context // of the one search
	name   fragments.StreamName
	r      *Request
	t      time.Time        // the instant, and slack
	newest fragments.Number // when the newest is asked for
	bytes  int64
	memo   *memo // may be nil
}

// find returns the shot, nil when nothing is recorded there.
func (f *finder) find() (*shot, error) {
	chain, err := f.chain()
	switch {
	case err != nil || len(chain) == 0:
		return nil, err
	case f.r.Exact:
		return f.exact(chain)
	}
	return f.keyFrame(chain)
}

// chain returns the fragments at the instant, after those that have to be
// decoded before them.
func (f *finder) chain() ([]*archive.Entry, error) {
	if !f.newest.IsZero() {
		return f.fragments(f.t.Add(-held), f.t.Add(held), f.newest)
	}
	found, err := f.fragments(f.t, f.t.Add(1), fragments.Number{})
	if len(found) > 0 || err != nil {
		return found, err
	}
	return f.fragments(f.t.Add(-held), f.t, fragments.Number{})
}

// fragments selects fragments that have something of the track, up to last if
// that is given.
func (f *finder) fragments(from, to time.Time, last fragments.Number) (found []*archive.Entry, err error) {
	for e, err := range playback.Select(f.ctx, f.m.src, f.name, playback.Range{Clock: f.r.Clock, Start: from, End: to}) {
		if err != nil {
			return nil, fmt.Errorf("look for fragments of stream %s: %w", f.name, err)
		}
		if !last.IsZero() && last.Less(e.Number) {
			break
		}
		if f.run(e) >= 0 {
			found = append(found, e)
		}
	}
	return found, nil
}

// run returns the index of the track in e, -1 when it is not there.
func (f *finder) run(e *archive.Entry) int {
	return slices.IndexFunc(e.Runs, func(r archive.EntryRun) bool {
		return r.Kind == fragments.KindVideo && (f.r.Video == 0 || r.Track == f.r.Video)
	})
}

// keyFrame finds the last key frame at or before the instant.
func (f *finder) keyFrame(chain []*archive.Entry) (*shot, error) {
	last := chain
	for try := 0; len(chain) > 0 && try <= lookEarlier; try++ {
		for i := len(chain) - 1; i >= 0; i-- {
			if s, err := f.keyOf(chain[i]); s != nil || err != nil {
				return s, err
			}
		}
		var err error
		if chain, err = f.earlier(chain[0]); err != nil {
			return nil, err
		}
	}
	return nil, f.noKey(last)
}

// keyOf finds the last key frame of a fragment at or before the instant.
func (f *finder) keyOf(e *archive.Entry) (*shot, error) {
	f.bytes = 0
	frames, track, err := f.load(e)
	if err != nil {
		return nil, err
	}
	best := -1
	for k := range frames {
		if fr := &frames[k]; fr.key && !fr.at(f.r.Clock).After(f.t) && (best < 0 || !fr.at(f.r.Clock).Before(frames[best].at(f.r.Clock))) {
			best = k
		}
	}
	if best < 0 {
		return nil, nil
	}
	return &shot{track: track, stored: true, frames: frames[best : best+1], time: frames[best].time}, nil
}

func (f *finder) noKey(chain []*archive.Entry) error {
	return &DecodeError{Stream: f.name, Reason: fmt.Sprintf("there is no key frame before %s within a quarter of an hour, and decoding starts at one",
		playback.Stamp(chain[len(chain)-1], f.r.Clock).Format(time.RFC3339Nano))}
}

// load reads the frames of one fragment, in decode order.
func (f *finder) load(e *archive.Entry) ([]frame, *fragments.Track, error) {
	i := f.run(e)
	run := &e.Runs[i]
	if f.bytes += run.Size; f.bytes > maxFeed {
		return nil, nil, &DecodeError{Stream: f.name, Reason: fmt.Sprintf("the key frame before it is more than %d MiB away", maxFeed>>20)}
	}
	if l, ok := f.memo.get(e.Number); ok {
		return l.frames, l.track, nil
	}
	track, err := f.m.src.Track(f.name, run.Config)
	if err != nil {
		return nil, nil, err
	}
	data, err := f.m.src.ReadRun(f.ctx, f.name, e, i)
	if err != nil {
		return nil, nil, f.unreadable(track, e, err)
	}
	frames := make([]frame, 0, run.Samples)
	base := e.BaseTicks(run.TimeScale)
	for p, err := range cmaf.Parts(data) {
		if err != nil {
			return nil, nil, f.unreadable(track, e, err)
		}
		dts := base + p.DecodeTime
		for k := range p.Samples {
			s := &p.Samples[k]
			frames = append(frames, frame{payload: [][]byte{s.Data}, pts: dts + int64(s.Offset), duration: int64(s.Duration), key: s.Key, number: e.Number})
			dts += int64(s.Duration)
		}
	}
	if len(frames) == 0 {
		return nil, nil, f.unreadable(track, e, &cmaf.FormatError{Box: "moof", Reason: "no frame is there"})
	}
	if err := f.stamp(e, i, frames); err != nil {
		return nil, nil, err
	}
	f.memo.put(e.Number, loaded{frames, track}, run.Size)
	return frames, track, nil
}

// unreadable says that a fragment is damaged; other errors stay what they are.
func (f *finder) unreadable(t *fragments.Track, e *archive.Entry, err error) error {
	if damaged(err) {
		return &DecodeError{Stream: f.name, Codec: t.Codec, Reason: fmt.Sprintf("fragment %s is damaged", e.Number), Err: err}
	}
	return err
}

// stamp gives frames their times: the producer time of a fragment is that of
// the first frame of its leading track.
func (f *finder) stamp(e *archive.Entry, i int, frames []frame) error {
	run := &e.Runs[i]
	first := nanos(frames[0].pts, run.TimeScale)
	if i > 0 { // the leading track is another
		data, err := f.m.src.ReadRun(f.ctx, f.name, e, 0)
		if err != nil {
			return err
		}
		for p, err := range cmaf.Parts(data) {
			if err != nil || len(p.Samples) == 0 {
				return f.unreadable(&fragments.Track{}, e, &cmaf.FormatError{Box: "moof", Reason: "no frame is there"})
			}
			lead := &e.Runs[0]
			first = nanos(e.BaseTicks(lead.TimeScale)+p.DecodeTime+int64(p.Samples[0].Offset), lead.TimeScale)
			break
		}
	}
	for k := range frames {
		since := time.Duration(nanos(frames[k].pts, run.TimeScale) - first)
		frames[k].time, frames[k].server = e.Producer.Time().Add(since), e.Server.Time().Add(since)
	}
	return nil
}

// nanos converts ticks to nanoseconds.
func nanos(ticks int64, scale uint32) int64 {
	s := int64(max(scale, 1))
	return ticks/s*int64(time.Second) + ticks%s*int64(time.Second)/s
}
