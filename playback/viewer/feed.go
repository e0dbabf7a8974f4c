package viewer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
)

// Limits of the log of a feed. Units before the newest key frame are kept for
// as long as a viewer may lag; a group of pictures that outgrows the limits
// loses its beginning, and who comes then waits for the next key frame.
const (
	maxLag      = 1500 * time.Millisecond
	maxLogUnits = 8192
	maxLogBytes = 48 << 20
)

// returnWait is how long viewers keep their last picture when the publisher has
// gone, before they are told that the stream has ended.
const returnWait = 10 * time.Second

// feed packetizes one live stream for its viewers.
type feed struct {
	hub  *live.Hub
	name fragments.StreamName
	log  *slog.Logger
	now  func() time.Time
	// started is when the feed was; units that arrived before are of the cache.
	started  time.Time
	patience time.Duration // with a publisher that has gone

	cancel context.CancelFunc
	done   chan struct{} // closed when run has ended
	ready  chan struct{} // closed when the cached group is in the log: tracks and frames are known
	lines  [2]timeline   // video, audio; of run alone
	sub    atomic.Pointer[live.Subscription]

	units  atomic.Int64 // packetized
	broken atomic.Int64 // not packetized

	mu         sync.Mutex // guards the fields below
	order      order      // of video
	tracks     [2]*fragments.Track
	others     []string // tracks that are not carried, each with the reason
	queue      []*unit
	bytes      int
	head       int64 // position of the next unit
	keyPos     int64 // of the newest unit a viewer can begin at; -1: none in the log
	groupBytes int   // since then
	viewers    map[*Connection]struct{}
	err        error // why the feed has ended
	ended      bool
}

// index of a kind of track in the arrays of feeds and viewers.
func index(k fragments.Kind) int {
	if k == fragments.KindAudio {
		return 1
	}
	return 0
}

func newFeed(s *Server, name fragments.StreamName) *feed {
	ctx, cancel := context.WithCancel(context.Background())
	f := &feed{
		hub: s.o.Hub, name: name, log: s.o.Log, now: s.o.Now, started: time.Now(), patience: s.patience, cancel: cancel,
		done: make(chan struct{}), ready: make(chan struct{}), keyPos: -1, viewers: map[*Connection]struct{}{},
	}
	go f.run(ctx)
	return f
}

// run reads the stream, and reads it again when its publisher is replaced,
// until the feed is canceled or the stream stays away.
func (f *feed) run(ctx context.Context) {
	defer close(f.done)
	err := f.follow(ctx)
	f.mu.Lock()
	f.ended, f.err = true, err // never nil
	for v := range f.viewers {
		v.wake()
	}
	f.mu.Unlock()
}

func (f *feed) follow(ctx context.Context) error {
	for round := 0; ; round++ {
		wait, cancel := context.WithTimeout(ctx, f.patience)
		_, err := f.hub.Wait(wait, f.name)
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("stream %s: %w", f.name, live.ErrEnded)
		}
		sub, err := f.hub.Subscribe(f.name, live.SubscribeOptions{})
		if errors.Is(err, live.ErrNotLive) {
			continue // gone again already
		}
		if err != nil {
			return err
		}
		err = f.read(ctx, sub, round)
		sub.Close()
		if !errors.Is(err, live.ErrEnded) {
			return err
		}
		f.log.Debug("stream paused for its viewers", "stream", f.name)
	}
}

// read takes one subscription to its end.
func (f *feed) read(ctx context.Context, sub *live.Subscription, round int) error {
	if err := f.choose(sub.Tracks(), round > 0); err != nil {
		return err
	}
	f.sub.Store(sub)
	renew := [2]bool{round > 0, round > 0}
	for {
		au, err := f.next(ctx, sub)
		if err != nil {
			return err
		}
		i := index(au.Track.Kind())
		switch ours, err := f.configure(i, au.Track); {
		case err != nil:
			return err
		case !ours:
			continue
		}
		if renew[i] {
			renew[i] = false
			f.lines[i].renew(au)
		}
		if err := f.put(au); err != nil {
			return err
		}
	}
}

// settle is how long the subscription must have nothing at hand for the cached
// group to be taken as read.
const settle = 10 * time.Millisecond

// next returns the next access unit and tells when the cached ones are read.
func (f *feed) next(ctx context.Context, sub *live.Subscription) (*fragments.AccessUnit, error) {
	select {
	case <-f.ready:
		return sub.Next(ctx)
	default:
	}
	short, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	au, err := sub.Next(short)
	switch {
	case err == nil && au.Arrival.Time().Before(f.started):
		return au, nil // cached
	case err == nil:
		f.settled()
		return au, nil
	case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
		return nil, err
	}
	f.settled()
	return sub.Next(ctx)
}

// settled closes ready if it is known by now what the stream is made of.
func (f *feed) settled() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if slices.ContainsFunc(f.tracks[:], lacksParams) || f.tracks[0] != nil && !f.order.known(f.tracks[0]) {
		return
	}
	close(f.ready)
}

// lacksParams reports whether t does not tell its profile yet.
func lacksParams(t *fragments.Track) bool {
	return t != nil && (t.Codec == fragments.H264 || t.Codec == fragments.H265) && len(t.Params) == 0
}

// configure takes the newest configuration of track i. It reports whether t is
// that track at all.
func (f *feed) configure(i int, t *fragments.Track) (ours bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	cur := f.tracks[i]
	switch {
	case cur == nil || cur.ID != t.ID:
		return false, nil
	case cur.Codec != t.Codec:
		return false, ErrChanged
	}
	f.tracks[i] = t
	return true, nil
}

// choose takes the first video and the first audio that WebRTC carries.
func (f *feed) choose(tracks []*fragments.Track, again bool) error {
	slices.SortFunc(tracks, func(a, b *fragments.Track) int { return a.ID - b.ID })
	var chosen [2]*fragments.Track
	var others []string
	for _, t := range tracks {
		i := index(t.Kind())
		reason := notCarried(t)
		switch {
		case reason == "" && chosen[i] == nil:
			chosen[i] = t
		case reason == "":
			reason = fmt.Sprintf("%s %s (track %d): a viewer gets one track of %s", t.Kind(), t.Codec, t.ID, t.Kind())
			fallthrough
		default:
			others = append(others, reason)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, t := range chosen {
		if again && (t == nil) != (f.tracks[i] == nil) || again && t != nil && t.Codec != f.tracks[i].Codec {
			return ErrChanged
		}
		f.lines[i].clock = clockOf(t)
	}
	f.tracks, f.others = chosen, others
	return nil
}

// put packetizes au and wakes the viewers. The error says that the stream
// cannot be shown.
func (f *feed) put(au *fragments.AccessUnit) error {
	u := &unit{kind: au.Track.Kind(), key: au.Key, capture: au.Capture, arrival: f.now()}
	u.ts, u.joint = f.lines[index(u.kind)].stamp(au)
	if u.kind == fragments.KindVideo {
		f.mu.Lock()
		pass, err := f.order.pass(au, u.joint)
		f.mu.Unlock()
		if err != nil || !pass {
			return err
		}
	}
	packets, err := packetize(au)
	if err != nil || len(packets) == 0 {
		f.broken.Add(1)
		f.log.Debug("access unit not sent", "stream", f.name, "error", err)
		return nil
	}
	u.packets = packets
	f.append(u)
	return nil
}

// append puts u into the log.
func (f *feed) append(u *unit) {
	for _, p := range u.packets {
		u.size += len(p.payload)
	}
	f.units.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	u.pos = f.head
	f.head++
	f.queue = append(f.queue, u)
	f.bytes += u.size
	if u.key && (u.kind == fragments.KindVideo || f.tracks[0] == nil) {
		f.keyPos, f.groupBytes = u.pos, 0
	}
	f.groupBytes += u.size
	f.trim(u.arrival)
	for v := range f.viewers {
		v.wake()
	}
}

// trim forgets what no viewer needs; the caller holds f.mu.
func (f *feed) trim(now time.Time) {
	n := 0
	for ; n < len(f.queue)-1; n++ {
		u := f.queue[n]
		over := f.bytes > maxLogBytes || len(f.queue)-n > maxLogUnits
		if !over && (f.keyPos < 0 || u.pos >= f.keyPos || now.Sub(u.arrival) <= maxLag) {
			break
		}
		f.bytes -= u.size
		if u.pos == f.keyPos {
			f.keyPos = -1
		}
	}
	if n > 0 {
		f.queue = slices.Delete(f.queue, 0, n)
	}
}

// take copies units from position pos on into buf and returns how many; all says
// that there are no more, lost that the log does not go back to pos. The error is
// that of a feed that has ended, once all is taken.
func (f *feed) take(pos int64, buf []*unit) (n int, all, lost bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	first := f.head - int64(len(f.queue))
	switch {
	case pos < first:
		return 0, false, true, nil
	case pos < f.head:
		n = copy(buf, f.queue[pos-first:])
		return n, pos+int64(n) == f.head, false, nil
	case f.ended:
		return 0, true, false, f.err
	}
	return 0, true, false, nil
}

// edge is where a feed is.
type edge struct {
	key  int64 // position of the newest unit a viewer can begin at; -1: none in the log
	head int64 // position of the unit to come
	size int   // bytes since key
	err  error // of a feed that has ended
}

func (f *feed) edge() edge {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.edgeLocked()
}

func (f *feed) edgeLocked() edge {
	e := edge{key: f.keyPos, head: f.head, size: f.groupBytes}
	if f.ended {
		e.err = f.err
	}
	return e
}

// join adds a viewer; false when the feed has ended.
func (f *feed) join(v *Connection) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return false
	}
	f.viewers[v] = struct{}{}
	return true
}

// leave takes a viewer out and returns how many there still are.
func (f *feed) leave(v *Connection) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.viewers, v)
	return len(f.viewers)
}

// chosen returns the tracks that are carried, and what is not, with reasons.
func (f *feed) chosen() (tracks [2]*fragments.Track, others []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tracks, slices.Clone(f.others)
}

// leftOut tells which frames are left out; "" when none are.
func (f *feed) leftOut() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.order.told(f.tracks[0])
}

// requestKey asks the publisher for a key frame, where it can be asked.
func (f *feed) requestKey() {
	if s := f.sub.Load(); s != nil {
		s.RequestKey()
	}
}
