package peer_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/ingest/peer"
)

// disk keeps the fragments that sessions commit.
type disk struct {
	begun    atomic.Uint64
	mu       sync.Mutex
	kept     []*fragments.Fragment
	notified chan struct{} // a token for each fragment
}

func (d *disk) Open(_ context.Context, name fragments.StreamName) (fragments.Lease, error) {
	return fragments.Lease{Stream: name, Epoch: 1, Created: time.Now().Add(-time.Hour)}, nil
}

func (d *disk) Begin(fragments.Lease) (fragments.Number, error) {
	return fragments.Number{Epoch: 1, Counter: d.begun.Add(1)}, nil
}

func (d *disk) Commit(_ context.Context, _ fragments.Lease, f *fragments.Fragment) error {
	d.mu.Lock()
	d.kept = append(d.kept, f)
	d.mu.Unlock()
	select {
	case d.notified <- struct{}{}:
	default:
	}
	return nil
}

func (d *disk) Abort(fragments.Lease, fragments.Number)      {}
func (d *disk) Close(context.Context, fragments.Lease) error { return nil }

// A publisher that never sends a key frame by itself is recorded in fragments of
// about the interval, each of which can be decoded by itself.
func TestFragmentsClose(t *testing.T) {
	t.Parallel()
	d := &disk{notified: make(chan struct{}, 100)}
	sessions := ingest.New(ingest.Options{
		Hub: live.New(), Sink: d, Logger: logTo(t),
		Cut: fragments.FragmenterOptions{
			MinDuration: 500 * time.Millisecond,
			Encode:      func(*fragments.Track, uint32, int64, []fragments.Sample) []byte { return []byte{0} },
		},
	})
	defer sessions.Close()
	s := newServer(t, newRecorder(), func(o *peer.Options) {
		o.Publish, o.KeyInterval = peer.PublishTo(sessions), time.Second
	})
	c := newClient(t, clientOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c.sendVideo(ctx, movies().get(t, fragments.H264, 320))
	c.sendSound(ctx)
	conn := c.connect(s, "cam")
	for range 3 {
		select {
		case <-d.notified:
		case <-time.After(20 * time.Second):
			t.Fatal("fragments do not close")
		}
	}
	conn.Close(nil)
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, f := range d.kept {
		if f.Dependent {
			t.Errorf("fragment %d cannot be decoded by itself", i)
		}
		if f.Duration > 3*time.Second {
			t.Errorf("fragment %d is %v long", i, f.Duration)
		}
		if len(f.Runs) != 2 && i < len(d.kept)-1 {
			t.Errorf("fragment %d has %d tracks", i, len(f.Runs))
		}
	}
}

func TestPublishToRefuses(t *testing.T) {
	sessions := ingest.New(ingest.Options{Hub: live.New(), Sink: &disk{}, Logger: logTo(t)})
	sessions.Close()
	session, err := peer.PublishTo(sessions)("cam", nil, ingest.Source{}, nil)
	if session != nil || !errors.Is(err, ingest.ErrClosed) {
		t.Errorf("got %v, %v", session, err)
	}
}
