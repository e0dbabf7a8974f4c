// Package live hands the access units of each stream that is being published
// to those who watch it: one publisher, any number of subscribers.
//
// It owns the cache of the current group of pictures, from which a new
// subscriber starts at once, and one bounded queue per subscriber. A publisher
// never waits: a subscriber whose queue is full loses what is queued and
// resumes at the next key frame, and its losses are counted. It also keeps the
// newest fragments of each stream as they are cut, part by part ([Recent]), so
// that low-latency playlists never wait for a disk or a bucket. Access units and
// the bytes of parts are shared, never copied, and nothing here is ever the way
// to the archive.
package live

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// ErrNotLive is returned for a stream that nobody publishes.
var ErrNotLive = errors.New("stream is not live")

// ErrEnded is returned by a subscription when its publisher has gone and all
// that was queued has been read.
var ErrEnded = errors.New("stream has ended")

// Limits of the caches. A group of pictures that outgrows its cache is dropped
// from the cache, not from the stream: new subscribers then wait for a key frame.
const (
	maxGroupUnits = 4096
	maxGroupBytes = 32 << 20
)

// Hub knows the streams that are being published. Its methods may be called
// concurrently.
type Hub struct {
	mu      sync.Mutex // guards the fields below
	streams map[fragments.StreamName]*Publisher
	waiters map[fragments.StreamName]chan struct{} // closed at the next Publish
	recent  map[fragments.StreamName]*Recent
}

// New returns a Hub without streams.
func New() *Hub {
	return &Hub{
		streams: map[fragments.StreamName]*Publisher{},
		waiters: map[fragments.StreamName]chan struct{}{},
		recent:  map[fragments.StreamName]*Recent{},
	}
}

// Publish makes name live with the given tracks. The caller sees to it that a
// stream has one publisher at a time: an earlier one's subscribers get ErrEnded.
func (h *Hub) Publish(name fragments.StreamName, tracks []*fragments.Track) *Publisher {
	p := &Publisher{
		hub: h, name: name, tracks: slices.Clone(tracks), lead: leading(tracks), started: time.Now(), subs: map[*Subscription]struct{}{},
	}
	h.mu.Lock()
	if p.recent = h.recent[name]; p.recent == nil {
		p.recent = &Recent{}
		h.recent[name] = p.recent
	}
	p.recent.take(p)
	old := h.streams[name]
	h.streams[name] = p
	if w := h.waiters[name]; w != nil {
		close(w)
		delete(h.waiters, name)
	}
	h.mu.Unlock()
	if old != nil {
		old.end()
	}
	return p
}

// Live returns the publisher of name, or ErrNotLive.
func (h *Hub) Live(name fragments.StreamName) (*Publisher, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.streams[name]
	if p == nil {
		return nil, fmt.Errorf("stream %s: %w", name, ErrNotLive)
	}
	return p, nil
}

// Names returns the live streams in order of name.
func (h *Hub) Names() []fragments.StreamName {
	h.mu.Lock()
	defer h.mu.Unlock()
	names := make([]fragments.StreamName, 0, len(h.streams))
	for n := range h.streams {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Wait returns the publisher of name as soon as there is one, or the error of
// ctx.
func (h *Hub) Wait(ctx context.Context, name fragments.StreamName) (*Publisher, error) {
	for {
		h.mu.Lock()
		p := h.streams[name]
		w := h.waiters[name]
		if p == nil && w == nil {
			w = make(chan struct{})
			h.waiters[name] = w
		}
		h.mu.Unlock()
		if p != nil {
			return p, nil
		}
		select {
		case <-w:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for stream %s: %w", name, ctx.Err())
		}
	}
}

// Subscribe joins the live stream name. Units already in the cache come first,
// beginning at a key frame.
func (h *Hub) Subscribe(name fragments.StreamName, o SubscribeOptions) (*Subscription, error) {
	p, err := h.Live(name)
	if err != nil {
		return nil, err
	}
	return p.subscribe(o)
}

// Publisher feeds one live stream. Write, Close and the methods of
// fragments.Cutter are called by one goroutine; the others by any.
type Publisher struct {
	hub     *Hub
	name    fragments.StreamName
	lead    int // ID of the leading track
	recent  *Recent
	started time.Time
	dropped atomic.Int64 // over all subscribers, past ones too

	mu         sync.Mutex // guards the fields below
	tracks     []*fragments.Track
	group      []*fragments.AccessUnit // since the last key frame of the leading track
	groupBytes int
	groupLost  bool // the group outgrew the cache
	subs       map[*Subscription]struct{}
	ended      bool
	wantKey    func()    // asks the publisher for a key frame; nil: it cannot be asked
	asked      time.Time // when it was asked last
}

// Name returns the name of the stream.
func (p *Publisher) Name() fragments.StreamName { return p.name }

// Started returns when the stream went live.
func (p *Publisher) Started() time.Time { return p.started }

// Tracks returns the tracks in their newest configuration. The slice is the
// caller's.
func (p *Publisher) Tracks() []*fragments.Track {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.tracks)
}

// Subscribers returns how many subscriptions are open.
func (p *Publisher) Subscribers() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.subs)
}

// Dropped returns how many access units subscribers have lost because they
// were too slow.
func (p *Publisher) Dropped() int64 { return p.dropped.Load() }

// keyPause is the least time between two requests for a key frame, lest many
// viewers who lost something at once make the publisher send nothing else.
const keyPause = 500 * time.Millisecond

// OnKeyRequest sets how the publisher is asked for a key frame. f must not
// block; it is called by any goroutine.
func (p *Publisher) OnKeyRequest(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wantKey = f
}

// RequestKey asks the publisher for a key frame, when it can be asked and has
// not just been: a camera sends one when it likes, a browser at once.
func (p *Publisher) RequestKey() {
	p.mu.Lock()
	f := p.wantKey
	now := time.Now()
	if p.ended || f == nil || now.Sub(p.asked) < keyPause {
		p.mu.Unlock()
		return
	}
	p.asked = now
	p.mu.Unlock()
	f()
}

// Write hands au to every subscriber. It never blocks.
func (p *Publisher) Write(au *fragments.AccessUnit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	p.cache(au)
	for s := range p.subs {
		s.put(au)
	}
}

// Close ends the stream: subscribers read what is queued, then ErrEnded.
func (p *Publisher) Close() {
	p.hub.mu.Lock()
	if p.hub.streams[p.name] == p {
		delete(p.hub.streams, p.name)
	}
	p.hub.mu.Unlock()
	p.recent.leave(p, func() { p.hub.forget(p.name, p.recent) })
	p.end()
}

// forget lets go of what is kept of a stream, unless somebody publishes it
// again.
func (h *Hub) forget(name fragments.StreamName, r *Recent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.owner == nil && h.recent[name] == r {
		delete(h.recent, name)
	}
}

func (p *Publisher) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	p.ended = true
	p.group = nil
	for s := range p.subs {
		s.end()
	}
	clear(p.subs)
}

// cache keeps the group of pictures; the caller holds p.mu.
func (p *Publisher) cache(au *fragments.AccessUnit) {
	i := slices.IndexFunc(p.tracks, func(t *fragments.Track) bool { return t.ID == au.Track.ID })
	if i < 0 {
		p.tracks = append(p.tracks, au.Track)
	} else {
		p.tracks[i] = au.Track
	}
	if p.starts(au) {
		p.group = make([]*fragments.AccessUnit, 0, max(cap(p.group), 64))
		p.groupBytes, p.groupLost = 0, false
	}
	if p.groupLost || (len(p.group) == 0 && !p.starts(au)) {
		return
	}
	p.group = append(p.group, au)
	p.groupBytes += au.Size()
	if len(p.group) > maxGroupUnits || p.groupBytes > maxGroupBytes {
		p.group, p.groupBytes, p.groupLost = nil, 0, true
	}
}

// starts reports whether a subscriber can begin at au: a key frame of video,
// or anything where there is no video.
func (p *Publisher) starts(au *fragments.AccessUnit) bool {
	if au.Track.Kind() == fragments.KindVideo {
		return au.Key
	}
	return !slices.ContainsFunc(p.tracks, func(t *fragments.Track) bool { return t.Kind() == fragments.KindVideo })
}

func (p *Publisher) subscribe(o SubscribeOptions) (*Subscription, error) {
	s := newSubscription(p, o)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return nil, fmt.Errorf("stream %s: %w", p.name, ErrNotLive)
	}
	s.waitKey = true
	for _, au := range p.group {
		s.put(au)
	}
	p.subs[s] = struct{}{}
	return s, nil
}
