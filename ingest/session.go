package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
)

// ErrReplaced ends a session whose stream has got a newer publisher.
var ErrReplaced = errors.New("another publisher has taken the stream over")

// ErrBusy refuses a second publisher where the first one stays.
var ErrBusy = errors.New("the stream already has a publisher")

// ErrTooMany refuses a publisher beyond Options.MaxSessions.
var ErrTooMany = errors.New("too many streams are being published")

// ErrClosed refuses a publisher while the server stops.
var ErrClosed = errors.New("the server is stopping")

// Source describes who publishes, for the log, the API and the metrics.
type Source struct {
	Protocol string `json:"protocol"`       // "rtsp", "rtsp-pull", "whip"
	Remote   string `json:"remote"`         // address of the other side
	User     string `json:"user,omitempty"` // "" when not authenticated
}

// Options configure Sessions. Hub, Sink and Cut.Encode are required.
type Options struct {
	Hub  *live.Hub
	Sink Sink
	// Cut are the rules of the Fragmenter; Created is set for each session.
	Cut fragments.FragmenterOptions
	// RefuseSecond keeps the first publisher of a stream; by default the newest
	// one takes the stream over.
	RefuseSecond bool
	// MaxSessions bounds the streams that are published at once; 0: no bound.
	MaxSessions int
	// MaxQueued bounds the bytes that wait for the Sink, per stream; default
	// 64 MiB. A fragment that finds the queue full is dropped and counted, and
	// the next one is marked as a discontinuity.
	MaxQueued int
	// Keep tells which streams are recorded around events only (see Keep of
	// Sessions) and how; nil: none. It is asked at each publisher and event.
	Keep func(name fragments.StreamName) (Keeping, bool)
	// CloseTimeout bounds the wait for the last fragments at the end of a
	// session; default 10 s.
	CloseTimeout time.Duration
	Logger       *slog.Logger
	Now          func() time.Time
}

// Sessions owns the sessions of all streams.
type Sessions struct {
	o Options

	mu     sync.Mutex // guards the fields below
	closed bool
	open   map[fragments.StreamName]*Session
	taking map[fragments.StreamName]chan struct{} // a Publish of the stream is under way
	errs   map[fragments.StreamName]string        // why the last session ended badly

	keepers map[fragments.StreamName]*keeper // of streams recorded around events only
}

// New returns Sessions without a session.
func New(o Options) *Sessions {
	if o.MaxQueued <= 0 {
		o.MaxQueued = 64 << 20
	}
	if o.CloseTimeout <= 0 {
		o.CloseTimeout = 10 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Sessions{
		o: o, open: map[fragments.StreamName]*Session{}, taking: map[fragments.StreamName]chan struct{}{},
		errs: map[fragments.StreamName]string{}, keepers: map[fragments.StreamName]*keeper{},
	}
}

// Publish opens a session. With the policy newest-wins (the default) an
// earlier session of the same stream ends first: its kicked function is called
// once, from another goroutine, with ErrReplaced, and its last fragment is
// committed. The tracks are those announced; units of others may follow.
func (s *Sessions) Publish(name fragments.StreamName, tracks []*fragments.Track, src Source, kicked func(reason error)) (*Session, error) {
	release, err := s.take(name)
	if err != nil {
		return nil, err
	}
	defer release()
	s.mu.Lock()
	old := s.open[name]
	full := old == nil && s.o.MaxSessions > 0 && len(s.open) >= s.o.MaxSessions
	s.mu.Unlock()
	if full {
		return nil, fmt.Errorf("stream %s: %w: the limit is %d", name, ErrTooMany, s.o.MaxSessions)
	}
	if old != nil {
		if s.o.RefuseSecond {
			return nil, fmt.Errorf("stream %s: %w (%s)", name, ErrBusy, old.src.Remote)
		}
		old.replace()
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.o.CloseTimeout)
	defer cancel()
	lease, err := s.o.Sink.Open(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("record stream %s: %w", name, err)
	}
	s.mu.Lock()
	ss := newSession(s, name, lease, tracks, src, kicked)
	s.open[name] = ss
	closed := s.closed
	s.mu.Unlock()
	if closed {
		ss.Close(ErrClosed)
		return nil, ErrClosed
	}
	ss.log.Info("publisher connected", "protocol", src.Protocol, "remote", src.Remote, "tracks", codecs(tracks))
	return ss, nil
}

// take makes the caller the only one who publishes name, until it calls the
// function returned.
func (s *Sessions) take(name fragments.StreamName) (func(), error) {
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return nil, ErrClosed
		}
		busy := s.taking[name]
		if busy == nil {
			done := make(chan struct{})
			s.taking[name] = done
			s.mu.Unlock()
			return func() {
				s.mu.Lock()
				delete(s.taking, name)
				s.mu.Unlock()
				close(done)
			}, nil
		}
		s.mu.Unlock()
		<-busy
	}
}

// Get returns the session of a stream, or nil.
func (s *Sessions) Get(name fragments.StreamName) *Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[name]
}

// List returns the open sessions in order of name.
func (s *Sessions) List() []*Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*Session, 0, len(s.open))
	for _, ss := range s.open {
		out = append(out, ss)
	}
	slices.SortFunc(out, func(a, b *Session) int { return cmp.Compare(a.name, b.name) })
	return out
}

// Close ends all sessions and refuses new ones. It returns when their last
// fragments are committed.
func (s *Sessions) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	var wg sync.WaitGroup
	for _, ss := range s.List() {
		wg.Go(func() { ss.Close(ErrClosed) })
	}
	wg.Wait()
}

// maxErrs bounds for how many streams the last error is kept.
const maxErrs = 1000

// LastError returns why the last session of a stream ended badly, "" when it
// did not or when nobody remembers.
func (s *Sessions) LastError(name fragments.StreamName) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.errs[name]
}

func (s *Sessions) forget(ss *Session, reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[ss.name] == ss {
		delete(s.open, ss.name)
	}
	delete(s.errs, ss.name)
	if reason != nil && !errors.Is(reason, ErrClosed) && !errors.Is(reason, ErrReplaced) && len(s.errs) < maxErrs {
		s.errs[ss.name] = reason.Error()
	}
}

func codecs(tracks []*fragments.Track) []string {
	out := make([]string, len(tracks))
	for i, t := range tracks {
		out[i] = string(t.Codec)
	}
	return out
}

// Session is one publisher's right to feed one stream.
type Session struct {
	owner  *Sessions
	name   fragments.StreamName
	lease  fragments.Lease
	src    Source
	kicked func(error)
	log    *slog.Logger
	live   *live.Publisher
	queue  *commitQueue
	ended  chan struct{} // closed when Close has done its work

	mu     sync.Mutex // guards the fields below
	cut    *fragments.Fragmenter
	closed bool
	meter  meter
}

// newSession makes a session; the caller holds s.mu.
func newSession(s *Sessions, name fragments.StreamName, lease fragments.Lease, tracks []*fragments.Track, src Source, kicked func(error)) *Session {
	ss := &Session{
		owner: s, name: name, lease: lease, src: src, kicked: kicked,
		log: s.o.Logger.With("stream", string(name)), ended: make(chan struct{}),
		live:  s.o.Hub.Publish(name, tracks),
		meter: newMeter(s.o.Now()),
	}
	ss.live.Created(lease.Created)
	ss.queue = newCommitQueue(settling{s.o.Sink, ss.live}, lease, s.o.MaxQueued, s.keeper(name), ss.log)
	o := s.o.Cut
	o.Created = lease.Created
	ss.cut = fragments.NewFragmenter(tracks, o, tee{ss.queue, ss.live})
	return ss
}

// Name returns the name of the stream.
func (s *Session) Name() fragments.StreamName { return s.name }

// Source returns who publishes.
func (s *Session) Source() Source { return s.src }

// Write feeds one access unit. It is called by one goroutine and never waits
// for disk or network. After Close it does nothing.
func (s *Session) Write(au *fragments.AccessUnit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.meter.unit(au, s.owner.o.Now())
	s.live.Write(au)
	s.cut.Push(au)
}

// OnKeyRequest sets how the publisher is asked for a key frame by those who
// watch. f must not block.
func (s *Session) OnKeyRequest(f func()) { s.live.OnKeyRequest(f) }

// Lost counts n packets that the transport lost.
func (s *Session) Lost(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meter.lost += n
}

// Jitter reports the interarrival jitter of a track in seconds (RFC 3550
// section 6.4.1).
func (s *Session) Jitter(track int, seconds float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meter.jitter[track] = seconds
}

// Close ends the session for a reason, nil when the publisher left in good
// order: what is open is closed as a fragment and committed. It returns when
// that is done, or has taken longer than CloseTimeout. Closing twice is fine.
func (s *Session) Close(reason error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		<-s.ended
		return
	}
	s.closed = true
	s.cut.Flush()
	s.mu.Unlock()
	defer close(s.ended)
	s.live.Close()
	ctx, cancel := context.WithTimeout(context.Background(), s.owner.o.CloseTimeout)
	defer cancel()
	wait := lastWait
	if errors.Is(reason, ErrClosed) || errors.Is(reason, ErrReplaced) {
		wait = 0 // somebody waits for the end of this session
	}
	s.queue.close(ctx, wait)
	if err := s.owner.o.Sink.Close(ctx, s.lease); err != nil {
		s.log.Error("close recording", "error", err)
	}
	s.owner.forget(s, reason)
	why := "it said good-bye"
	if reason != nil {
		why = reason.Error()
	}
	st := s.Stats()
	s.log.Info("publisher gone", "reason", why, "fragments", st.Fragments, "dropped", st.Dropped, "lost_packets", st.LostPackets)
}

// replace ends the session in favour of a newer publisher.
func (s *Session) replace() {
	var wg sync.WaitGroup
	if s.kicked != nil {
		wg.Go(func() { s.kicked(ErrReplaced) })
	}
	s.Close(ErrReplaced)
	// kicked may itself wait for Close; it is not waited for before.
	wg.Wait()
}
