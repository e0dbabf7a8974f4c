package live

import (
	"context"
	"sync"

	"github.com/kineweir/kineweir/fragments"
)

// SubscribeOptions bound a subscription. The zero value is good.
type SubscribeOptions struct {
	MaxUnits int // queued access units; by default, and at least, what a cached group may have and one
	MaxBytes int // queued payload bytes; default 64 MiB, at least what a cached group may have and one
}

// Subscription reads one live stream. Next is called by one goroutine.
type Subscription struct {
	pub      *Publisher
	maxUnits int
	maxBytes int
	ready    chan struct{} // holds a token when the queue has become non-empty or the stream ended

	mu      sync.Mutex // guards the fields below
	queue   []*fragments.AccessUnit
	bytes   int
	waitKey bool // skip until decoding can start
	dropped int64
	ended   bool
}

func newSubscription(p *Publisher, o SubscribeOptions) *Subscription {
	if o.MaxBytes <= 0 {
		o.MaxBytes = 64 << 20
	}
	return &Subscription{
		pub: p, ready: make(chan struct{}, 1),
		maxUnits: max(o.MaxUnits, maxGroupUnits+1), maxBytes: max(o.MaxBytes, maxGroupBytes+1),
	}
}

// Next returns the next access unit. It blocks until there is one, the stream
// ends (ErrEnded) or ctx does.
func (s *Subscription) Next(ctx context.Context) (*fragments.AccessUnit, error) {
	for {
		s.mu.Lock()
		if len(s.queue) > 0 {
			au := s.queue[0]
			s.queue[0] = nil
			s.queue = s.queue[1:]
			s.bytes -= au.Size()
			s.mu.Unlock()
			return au, nil
		}
		ended := s.ended
		s.mu.Unlock()
		if ended {
			return nil, ErrEnded
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Dropped returns how many access units this subscription has lost because it
// was too slow.
func (s *Subscription) Dropped() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}

// Tracks returns the tracks of the stream in their newest configuration.
func (s *Subscription) Tracks() []*fragments.Track { return s.pub.Tracks() }

// RequestKey asks the publisher for a key frame; see [Publisher.RequestKey].
func (s *Subscription) RequestKey() { s.pub.RequestKey() }

// Close leaves the stream.
func (s *Subscription) Close() {
	s.pub.mu.Lock()
	delete(s.pub.subs, s)
	s.pub.mu.Unlock()
	s.end()
}

// put queues au; the caller holds the publisher's mutex.
func (s *Subscription) put(au *fragments.AccessUnit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waitKey {
		if !s.pub.starts(au) {
			return
		}
		s.waitKey = false
	}
	size := au.Size()
	if len(s.queue) >= s.maxUnits || s.bytes+size > s.maxBytes {
		s.drop(int64(len(s.queue)))
		s.queue, s.bytes = nil, 0
		if !s.pub.starts(au) {
			s.waitKey = true
			s.drop(1)
			return
		}
	}
	s.queue = append(s.queue, au)
	s.bytes += size
	s.wake()
}

func (s *Subscription) drop(n int64) {
	s.dropped += n
	s.pub.dropped.Add(n)
}

func (s *Subscription) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.wake()
}

func (s *Subscription) wake() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}
