package hls

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
	"github.com/kineweir/kineweir/fragments/live"
)

// segmentTag is the ETag of a segment, wherever its bytes come from.
func (r *Request) segmentTag() string {
	return fmt.Sprintf(`"%d-%d-%d-%d-%d-%d"`, r.Born, r.Track, r.Number.Epoch, r.Number.Counter, r.Count, r.Lead)
}

// held returns the closed fragment that memory has of a segment, nil when it has
// none. A right to a range is for what the archive shows.
func (p *Packager) held(name fragments.StreamName, r *Request) *live.Fragment {
	s := p.recent(name, r.Born)
	if s == nil || r.Count != 1 || !r.Range.Start.IsZero() {
		return nil
	}
	if f := s.Find(r.Number); f != nil && !f.Open {
		return f
	}
	return nil
}

// segmentFrom makes a segment of the parts of f: the bytes that are archived.
func (p *Packager) segmentFrom(ctx context.Context, name fragments.StreamName, f *live.Fragment, r *Request) (*Content, error) {
	e := entryOf(f)
	i, err := runOf(name, e, r.Track)
	if err != nil {
		return nil, err
	}
	data, err := p.played(ctx, name, e, i, f.Runs[i].Data(), r.Lead)
	if err != nil {
		return nil, err
	}
	return &Content{mimeType(e.Runs[i].Kind), r.segmentTag(), data}, nil
}

// keyBefore returns the parts of the last fragment in memory before n that begins
// with a key frame, of the track and configuration of run; nil when there is
// none.
func (p *Packager) keyBefore(name fragments.StreamName, n fragments.Number, run *archive.EntryRun) []byte {
	s := p.recent(name, anyBorn)
	if s == nil {
		return nil
	}
	for _, f := range slices.Backward(s.Closed) {
		if !f.Number.Less(n) || f.Dependent {
			continue
		}
		if r := f.Run(run.Track); r != nil && r.Config == run.Config {
			return r.Data()
		}
	}
	return nil
}

// hintTimeout is how long a part is waited for that is the next to come.
const hintTimeout = 10 * time.Second

// part returns one part of a fragment.
func (p *Packager) part(ctx context.Context, name fragments.StreamName, r *Request) (*Content, error) {
	if !r.Range.Start.IsZero() {
		return nil, fmt.Errorf("stream %s, parts are of live playlists: %w", name, ErrOutside)
	}
	late := time.NewTimer(hintTimeout)
	defer late.Stop()
	for {
		s := p.recent(name, r.Born)
		var f *live.Fragment
		if s != nil {
			f = s.Find(r.Number)
		}
		if f == nil {
			return p.archivedPart(ctx, name, r)
		}
		run, have := f.Run(r.Track), 0
		if run != nil {
			have = len(run.Parts)
		}
		switch {
		case r.Part < have:
			return p.partFrom(ctx, name, entryOf(f), r, run.Parts[0].Data, run.Parts[r.Part].Data)
		case r.Part > have || !f.Open:
			return nil, fmt.Errorf("stream %s, fragment %s, part %d of track %d: %w", name, r.Number, r.Part, r.Track, archive.ErrNoFragment)
		}
		select {
		case <-s.Changed:
		case <-late.C:
			return nil, fmt.Errorf("stream %s: %w", name, ErrLate)
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for a part of stream %s: %w", name, ctx.Err())
		}
	}
}

// archivedPart finds a part in the archive, for players that come late.
func (p *Packager) archivedPart(ctx context.Context, name fragments.StreamName, r *Request) (*Content, error) {
	e, err := p.src.Entry(ctx, name, r.Number)
	if err != nil {
		return nil, err
	}
	i, err := runOf(name, e, r.Track)
	if err != nil {
		return nil, err
	}
	data, err := p.runBytes(ctx, name, e, i)
	if err != nil {
		return nil, err
	}
	var first []byte
	k := 0
	for part, err := range cmaf.Parts(data) {
		if err != nil {
			return nil, fmt.Errorf("stream %s, fragment %s, track %d: %w", name, e.Number, r.Track, err)
		}
		bytes := data[part.Offset : part.Offset+part.Size]
		if first == nil {
			first = bytes
		}
		if k == r.Part {
			return p.partFrom(ctx, name, e, r, first, bytes)
		}
		k++
	}
	return nil, fmt.Errorf("stream %s, fragment %s has %d parts of track %d: %w", name, r.Number, k, r.Track, archive.ErrNoFragment)
}

// partFrom returns a part as it is played: a stretch of the segment that it ends
// up in. The reorder delay is that of the first part of the run, for the others
// may not be there yet. The bytes given are left as they are.
func (p *Packager) partFrom(ctx context.Context, name fragments.StreamName, e *archive.Entry, r *Request, first, data []byte) (*Content, error) {
	i, err := runOf(name, e, r.Track)
	if err != nil {
		return nil, err
	}
	run := &e.Runs[i]
	t, err := p.playable(name, run.Config)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*Content, error) {
		return nil, fmt.Errorf("stream %s, fragment %s, part %d of track %d: %w", name, e.Number, r.Part, r.Track, err)
	}
	if run.Kind == fragments.KindVideo {
		delay, err := p.delayOf(ctx, name, e, run, first)
		if err != nil {
			return fail(err)
		}
		if delay != 0 {
			if data, err = cmaf.Delay(slices.Clone(data), delay); err != nil {
				return fail(err)
			}
		}
	}
	if cmaf.PlaysAsFLAC(t) {
		if data, err = cmaf.FLACRun(nil, t, data); err != nil {
			return fail(err)
		}
	}
	tag := fmt.Sprintf(`"%d-%d-%d-%d-p%d"`, r.Born, r.Track, r.Number.Epoch, r.Number.Counter, r.Part)
	return &Content{mimeType(run.Kind), tag, data}, nil
}
