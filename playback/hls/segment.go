package hls

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

// Content is the body of an initialisation segment or a segment. It never
// changes, and its URL never means anything else.
type Content struct {
	Type string // MIME type
	ETag string // quoted
	Data []byte
}

// Content returns what r, an Init, Segment, Part or Fill, asks for. A part that
// is the next one to come is waited for. The error is archive.ErrNoStream,
// archive.ErrNoFragment, ErrOutside, ErrLate or one of reading.
func (p *Packager) Content(ctx context.Context, name fragments.StreamName, r Request) (*Content, error) {
	info, err := p.src.Stream(name)
	if err != nil {
		return nil, err
	}
	if info.Created.UnixMilli() != r.Born {
		return nil, fmt.Errorf("stream %s was deleted and made anew: %w", name, archive.ErrNoFragment)
	}
	switch r.Kind {
	case Init:
		return p.init(name, r.Config)
	case Fill:
		return p.fill(name, &r)
	case Segment:
		return p.segment(ctx, name, &r)
	case Part:
		return p.part(ctx, name, &r)
	}
	return nil, ErrNoName
}

func (p *Packager) init(name fragments.StreamName, h fragments.ConfigHash) (*Content, error) {
	t, err := p.playable(name, h)
	if err != nil {
		return nil, err
	}
	write := cmaf.InitSegment
	if cmaf.PlaysAsFLAC(t) {
		write = func(...*fragments.Track) ([]byte, error) { return cmaf.FLACInit(t) }
	}
	b, err := write(t)
	if err != nil {
		return nil, fmt.Errorf("stream %s, initialisation segment %s: %w", name, h, err)
	}
	return &Content{mimeType(t.Kind()), `"` + h.String() + `"`, b}, nil
}

// playable returns the configuration h, or says why it cannot be played.
func (p *Packager) playable(name fragments.StreamName, h fragments.ConfigHash) (*fragments.Track, error) {
	t, err := p.track(name, h)
	if err != nil {
		return nil, err
	}
	if err := cmaf.Playable(t); err != nil {
		return nil, &NotPlayableError{name, []string{fmt.Sprintf("track %d (%s): %v", t.ID, t.Kind(), err)}}
	}
	return t, nil
}

func mimeType(k fragments.Kind) string {
	if k == fragments.KindVideo {
		return "video/mp4"
	}
	return "audio/mp4"
}

// segment returns the runs of one track of r.Count fragments, one after the
// other, and the silence before them.
func (p *Packager) segment(ctx context.Context, name fragments.StreamName, r *Request) (*Content, error) {
	if f := p.held(name, r); f != nil {
		return p.segmentFrom(ctx, name, f, r)
	}
	first, err := p.src.Entry(ctx, name, r.Number)
	if err != nil {
		return nil, err
	}
	entries := []*archive.Entry{first}
	if r.Count > 1 {
		if entries, err = p.following(ctx, name, first, r.Count); err != nil {
			return nil, err
		}
	}
	if !r.Range.Start.IsZero() {
		if err := p.inRange(ctx, name, r.Range, entries); err != nil {
			return nil, err
		}
	}
	c := &Content{ETag: r.segmentTag()}
	lead := r.Lead
	for _, e := range entries {
		kind, data, err := p.run(ctx, name, e, r.Track, lead)
		if err != nil {
			return nil, err
		}
		lead = 0
		c.Type = mimeType(kind)
		if c.Data == nil {
			c.Data = data
		} else {
			c.Data = append(c.Data, data...)
		}
	}
	return c, nil
}

// inRange returns ErrOutside unless a playlist of the range names all entries,
// which are consecutive: a right to view may be for a range alone. What lies
// before the start is in it only where decoding has to begin there.
func (p *Packager) inRange(ctx context.Context, name fragments.StreamName, r playback.Range, entries []*archive.Entry) error {
	first, last := entries[0], entries[len(entries)-1]
	outside := fmt.Errorf("stream %s, fragment %s: %w", name, first.Number, ErrOutside)
	if !r.Open() && !playback.Stamp(last, r.Clock).Before(r.End) {
		return outside
	}
	if overlaps(first, r) {
		return nil
	}
	for e, err := range playback.Select(ctx, p.src, name, r) {
		if err != nil {
			return err
		}
		if !e.Number.Less(first.Number) {
			if e.Number == first.Number {
				return nil
			}
			break
		}
	}
	return outside
}

// following returns count fragments, beginning with first.
func (p *Packager) following(ctx context.Context, name fragments.StreamName, first *archive.Entry, count int) ([]*archive.Entry, error) {
	entries := make([]*archive.Entry, 0, count)
	sel := fragments.Selector{Clock: fragments.ByServer, Start: first.Server.Time().Add(-slack)}
	for e, err := range p.src.Fragments(ctx, name, sel) {
		if err != nil {
			return nil, err
		}
		if e.Number.Less(first.Number) {
			continue
		}
		if entries = append(entries, e); len(entries) == count {
			return entries, nil
		}
	}
	return nil, fmt.Errorf("stream %s, %d fragments from %s: %w", name, count, first.Number, archive.ErrNoFragment)
}

// run returns one run as it is played: its decode times counted from the
// creation of the stream, PCM as FLAC, and so many ticks of silence before it.
func (p *Packager) run(ctx context.Context, name fragments.StreamName, e *archive.Entry, track int, lead int64) (fragments.Kind, []byte, error) {
	i, err := runOf(name, e, track)
	if err != nil {
		return 0, nil, err
	}
	data, err := p.runBytes(ctx, name, e, i)
	if err != nil {
		return 0, nil, err
	}
	data, err = p.played(ctx, name, e, i, data, lead)
	return e.Runs[i].Kind, data, err
}

func runOf(name fragments.StreamName, e *archive.Entry, track int) (int, error) {
	i := slices.IndexFunc(e.Runs, func(r archive.EntryRun) bool { return r.Track == track })
	if i < 0 {
		return 0, fmt.Errorf("stream %s, fragment %s has nothing of track %d: %w", name, e.Number, track, archive.ErrNoFragment)
	}
	return i, nil
}

// runBytes returns a run of the archive as it was cut: its decode times counted
// from the creation of the stream. The bytes are the caller's.
func (p *Packager) runBytes(ctx context.Context, name fragments.StreamName, e *archive.Entry, i int) ([]byte, error) {
	data, err := p.src.ReadRun(ctx, name, e, i)
	if err != nil {
		return nil, err
	}
	if err := cmaf.Rebase(data, e.BaseTicks(e.Runs[i].TimeScale)); err != nil {
		return nil, fmt.Errorf("stream %s, fragment %s, track %d: %w", name, e.Number, e.Runs[i].Track, err)
	}
	return data, nil
}

// played returns a run as it is played, from what was cut, which it may change.
func (p *Packager) played(ctx context.Context, name fragments.StreamName, e *archive.Entry, i int, data []byte, lead int64) ([]byte, error) {
	run := &e.Runs[i]
	t, err := p.playable(name, run.Config)
	if err != nil {
		return nil, err
	}
	if run.Kind == fragments.KindVideo {
		delay, err := p.delayOf(ctx, name, e, run, data)
		if err == nil {
			data, err = cmaf.Delay(data, delay)
		}
		if err != nil {
			return nil, fmt.Errorf("stream %s, fragment %s, track %d: %w", name, e.Number, run.Track, err)
		}
	}
	if lead > 0 {
		quiet, err := silence(name, t, run.DecodeTime-lead, lead)
		if err != nil {
			return nil, err
		}
		data = append(quiet, data...)
	}
	if cmaf.PlaysAsFLAC(t) {
		if data, err = cmaf.FLACRun(nil, t, data); err != nil {
			return nil, fmt.Errorf("stream %s, fragment %s, track %d as FLAC: %w", name, e.Number, run.Track, err)
		}
	}
	return data, nil
}

// delayOf returns by how much the decode times of a run are moved, so that its
// first picture is shown at its first decode time. hls.js puts a segment where
// its first decode time says: with B-frames, which are decoded ahead, every
// discontinuity would begin with a hole, and the whole with another.
func (p *Packager) delayOf(ctx context.Context, name fragments.StreamName, e *archive.Entry, run *archive.EntryRun, data []byte) (int64, error) {
	delay, reordered, err := cmaf.ReorderDelay(data)
	if err == nil && reordered && e.Dependent {
		delay, err = p.delayBefore(ctx, name, e, run, delay)
	}
	return delay, err
}

// delayBefore returns the reorder delay of the last fragment before e that
// begins with a key frame, whose decode times those of e continue; otherwise
// when there is none.
func (p *Packager) delayBefore(ctx context.Context, name fragments.StreamName, e *archive.Entry, run *archive.EntryRun, otherwise int64) (int64, error) {
	if data := p.keyBefore(name, e.Number, run); data != nil {
		delay, _, err := cmaf.ReorderDelay(data)
		return delay, err
	}
	var before *archive.Entry
	at := 0
	sel := fragments.Selector{Clock: fragments.ByServer, Start: e.Server.Time().Add(-maxFill)}
	for f, err := range p.src.Fragments(ctx, name, sel) {
		if err != nil {
			return 0, err
		}
		if !f.Number.Less(e.Number) {
			break
		}
		if i := slices.IndexFunc(f.Runs, func(r archive.EntryRun) bool { return r.Config == run.Config }); i >= 0 && !f.Dependent {
			before, at = f, i
		}
	}
	if before == nil {
		return otherwise, nil
	}
	data, err := p.src.ReadRun(ctx, name, before, at)
	if err != nil {
		return 0, err
	}
	delay, _, err := cmaf.ReorderDelay(data)
	return delay, err
}

// maxFill is the longest silence of one segment.
const maxFill = maxJoin + time.Minute

// fill returns silence.
func (p *Packager) fill(name fragments.StreamName, r *Request) (*Content, error) {
	t, err := p.playable(name, r.Config)
	if err != nil {
		return nil, err
	}
	data, err := silence(name, t, r.Start, r.Length)
	if err != nil {
		return nil, err
	}
	if cmaf.PlaysAsFLAC(t) {
		if data, err = cmaf.FLACRun(nil, t, data); err != nil {
			return nil, err
		}
	}
	return &Content{mimeType(t.Kind()), fmt.Sprintf(`"%s-%d-%d"`, r.Config, r.Start, r.Length), data}, nil
}

// silence returns a part of so many ticks without a sound.
func silence(name fragments.StreamName, t *fragments.Track, start, length int64) ([]byte, error) {
	s, ok := playback.SilenceOf(t)
	if !ok || length > archive.Ticks(maxFill, t.TimeScale) || start < 0 || start > 1<<60 {
		return nil, fmt.Errorf("stream %s, silence of track %d: %w", name, t.ID, archive.ErrNoFragment)
	}
	return cmaf.AppendPart(nil, t, 1, start, s.Samples(length)), nil
}
