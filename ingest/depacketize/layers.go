package depacketize

import (
	"errors"
	"fmt"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/format"

	"github.com/kineweir/kineweir/fragments"
)

// maxStreams bounds the streams of one track.
const maxStreams = 16

// AddLayer adds another stream of the track that s is of: the same pictures at
// another size (simulcast), or what the publisher sends after it has changed the
// codec. Nothing of it is taken until [Stream.Select].
func (r *Receiver) AddLayer(s *Stream, f format.Format, clock int) (*Stream, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := s.track
	n, err := r.newStream(t, f, clock)
	switch {
	case err != nil:
		return nil, err
	case t.streams == maxStreams:
		return nil, ErrTooMany
	case n.clock.Rate() != s.clock.Rate():
		return nil, fmt.Errorf("time stamps of %d ticks per second in a track of %d", n.clock.Rate(), s.clock.Rate())
	}
	t.streams++
	return n, nil
}

// Select makes the track consist of the units of s from its next key frame on.
// Until then the stream selected before goes on, unless nothing of the track has
// been handed over yet.
func (s *Stream) Select() {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.track.wanted = s
	if !s.track.written {
		s.track.current = s
	}
}

// State is how a stream does.
type State struct {
	Selected bool // its units are taken
	// Broken: units were lost or dropped since the latest key frame, or there has
	// been no key frame. Never of audio.
	Broken        bool
	Packet        time.Time // arrival of the latest packet; zero: none yet
	Key           time.Time // arrival of the latest key frame; zero: none yet
	Width, Height int       // of the picture; 0 before the first key frame
}

// State returns how the stream does.
func (s *Stream) State() State {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	st := State{Selected: s.track.current == s, Packet: s.heard, Key: s.key}
	t := s.dep.track()
	st.Width, st.Height = t.Width, t.Height
	st.Broken = t.Kind() == fragments.KindVideo && (s.broken || s.key.IsZero())
	return st
}

// take decides whether a unit of s is taken, and puts its time stamp into the
// time line of the track.
func (s *Stream) take(au *fragments.AccessUnit) bool {
	t := s.track
	if t.current != s {
		if t.wanted != s || !au.Key {
			return false
		}
		t.switchTo(s, au)
	}
	au.PTS += t.shift
	t.written, t.pts, t.capture = true, au.PTS, au.Capture
	return true
}

// switchTo continues the time line with the time stamps of another stream. They
// count from another origin; what both have is the capture time.
func (t *track) switchTo(s *Stream, au *fragments.AccessUnit) {
	t.current = s
	if !t.written {
		t.shift = 0
		return
	}
	want := t.pts - t.debt + int64(au.Capture-t.capture)*int64(s.clock.Rate())/int64(time.Second)
	// The newer stream may be behind: time never stands still nor goes back. What
	// that adds is not carried on to the next switch.
	pts := max(want, t.pts+1)
	t.debt = pts - want
	t.shift = pts - au.PTS
}

// Hold keeps the units back until [Receiver.Release], so that the session can
// begin with all tracks and with the layer chosen. It is called before the first
// packet.
func (r *Receiver) Hold() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.holding = true
}

// Release hands over what was held, and holds no more.
func (r *Receiver) Release() {
	now := r.o.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	held := r.held
	r.holding, r.held, r.heldBytes = false, nil, 0
	if r.closed {
		return
	}
	defer r.guard()
	for _, h := range held {
		// A report may have come meanwhile.
		h.au.Capture, h.au.Source = h.stream.clock.Capture(h.au.PTS)
		h.stream.write(h.au, now)
	}
}

// maxHeld bounds the payload that is held.
const maxHeld = 16 << 20

type heldUnit struct {
	stream *Stream
	au     *fragments.AccessUnit
}

var errHeld = errors.New("too much came before the session could open")

func (r *Receiver) hold(s *Stream, au *fragments.AccessUnit) {
	if r.heldBytes += au.Size(); r.heldBytes > maxHeld {
		r.warn.Add("access unit dropped", 1, errHeld)
		s.broken = true
		return
	}
	r.held = append(r.held, heldUnit{s, au})
}
