package ingest

import (
	"context"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
)

// tee shows every part to those who watch as soon as it is cut. The queue comes
// first, for it numbers the fragments; neither waits for a disk.
type tee struct {
	queue *commitQueue
	live  *live.Publisher
}

// Begin implements fragments.Cutter.
func (t tee) Begin(f *fragments.Fragment) {
	t.queue.Begin(f)
	t.live.Begin(f)
}

// Part implements fragments.Cutter.
func (t tee) Part(f *fragments.Fragment, p *fragments.Part) { t.live.Part(f, p) }

// End implements fragments.Cutter. After it the queue may mark the fragment as a
// discontinuity, which those who watched it never met.
func (t tee) End(f *fragments.Fragment) {
	t.live.End(f)
	t.queue.End(f)
}

// settling tells the live stream what has become of its fragments, so that it
// keeps those that the archive does not show yet.
type settling struct {
	Sink
	live *live.Publisher
}

// Commit implements Sink.
func (s settling) Commit(ctx context.Context, l fragments.Lease, f *fragments.Fragment) error {
	n := f.Number
	err := s.Sink.Commit(ctx, l, f)
	if err == nil {
		s.live.Settled(n, true)
	}
	return err
}

// Abort implements Sink.
func (s settling) Abort(l fragments.Lease, n fragments.Number) {
	s.Sink.Abort(l, n)
	s.live.Settled(n, false)
}
