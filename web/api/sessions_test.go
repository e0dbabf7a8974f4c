package api

import (
	"context"
	"testing"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/ingest"
)

// discard is a Sink that keeps nothing.
type discard struct{}

func (discard) Open(_ context.Context, name fragments.StreamName) (fragments.Lease, error) {
	return fragments.Lease{Stream: name, Epoch: 1, Created: day}, nil
}

func (discard) Begin(fragments.Lease) (fragments.Number, error) {
	return fragments.Number{Epoch: 1, Counter: 1}, nil
}
func (discard) Commit(context.Context, fragments.Lease, *fragments.Fragment) error { return nil }
func (discard) Abort(fragments.Lease, fragments.Number)                            {}
func (discard) Close(context.Context, fragments.Lease) error                       { return nil }

func TestPublishersOfSessions(t *testing.T) {
	hub := live.New()
	all := ingest.New(ingest.Options{Hub: hub, Sink: discard{}})
	defer all.Close()
	src := ingest.Source{Protocol: "rtsp", Remote: "192.0.2.7:5", User: "cam"}
	s, err := all.Publish("x", []*fragments.Track{video}, src, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Lost(3)
	p := PublishersOf(all)
	got, ok := p.Publisher("x")
	if !ok || got.Source != src || got.Stats.LostPackets != 3 {
		t.Errorf("publisher = %+v %v", got, ok)
	}
	if _, ok := p.Publisher("y"); ok {
		t.Error("a publisher of a stream that nobody publishes")
	}
	s.Close(context.DeadlineExceeded)
	if _, ok := p.Publisher("x"); ok || p.LastError("x") != context.DeadlineExceeded.Error() {
		t.Errorf("after its end: %v %q", ok, p.LastError("x"))
	}
}
