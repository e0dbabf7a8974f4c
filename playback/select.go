package playback

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
)

// Index is what the selection of fragments asks of the archive.
type Index interface {
	// Stream describes a stream; the error is archive.ErrNoStream.
	Stream(name fragments.StreamName) (archive.StreamInfo, error)
	// Fragments yields the visible fragments that overlap the selected span, in
	// order of number. After an error it yields nothing more.
	Fragments(ctx context.Context, name fragments.StreamName, s fragments.Selector) iter.Seq2[*archive.Entry, error]
}

// lookBack is how far before its first fragment a range is searched for one
// that decoding can start at: groups of pictures of a few seconds are common,
// of minutes rare.
var lookBack = [...]time.Duration{15 * time.Second, 2 * time.Minute, 15 * time.Minute}

// Select yields the fragments of a range in order of number. When the first of
// them is dependent, the ones from the nearest earlier independent fragment on
// come before it; when there is none within a quarter of an hour, the range
// begins as it is.
func Select(ctx context.Context, ix Index, name fragments.StreamName, r Range) iter.Seq2[*archive.Entry, error] {
	return func(yield func(*archive.Entry, error) bool) {
		first := true
		for e, err := range ix.Fragments(ctx, name, r.Selector()) {
			if err != nil {
				yield(nil, err)
				return
			}
			if first && e.Dependent && !yieldLead(ctx, ix, name, r, e, yield) {
				return
			}
			first = false
			if !yield(e, nil) {
				return
			}
		}
	}
}

// yieldLead yields what has to be decoded before e; it reports whether to go on.
func yieldLead(ctx context.Context, ix Index, name fragments.StreamName, r Range, e *archive.Entry, yield func(*archive.Entry, error) bool) bool {
	lead, err := lead(ctx, ix, name, r, e)
	if err != nil {
		yield(nil, fmt.Errorf("look for the key frame before %s: %w", e.Number, err))
		return false
	}
	for _, l := range lead {
		if !yield(l, nil) {
			return false
		}
	}
	return true
}

func lead(ctx context.Context, ix Index, name fragments.StreamName, r Range, e *archive.Entry) ([]*archive.Entry, error) {
	for _, back := range lookBack {
		var lead []*archive.Entry
		span := fragments.Selector{Clock: r.Clock, Start: r.Start.Add(-back), End: r.Start}
		for l, err := range ix.Fragments(ctx, name, span) {
			if err != nil {
				return nil, err
			}
			if !l.Number.Less(e.Number) {
				break
			}
			if !l.Dependent {
				lead = lead[:0]
			}
			lead = append(lead, l)
		}
		if len(lead) > 0 && !lead[0].Dependent {
			return lead, nil
		}
	}
	return nil, nil
}

// Stamp returns when e begins on the clock.
func Stamp(e *archive.Entry, c fragments.Clock) time.Time {
	if c == fragments.ByServer {
		return e.Server.Time()
	}
	return e.Producer.Time()
}
