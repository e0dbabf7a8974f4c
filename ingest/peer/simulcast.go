package peer

import (
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/ingest/depacketize"
)

// When layers are changed.
const (
	// pauseAfter is how long a stream may be silent and still flows.
	pauseAfter = time.Second
	// deadAfter is how far a layer may be behind another that flows.
	deadAfter = 1200 * time.Millisecond
	// steadyAfter is how long a layer must flow before it is changed to.
	steadyAfter = time.Second
)

// When the session opens although not all that was offered flows.
const (
	trackWait = 2 * time.Second
	// keyWait is for pictures that come, none of them a key frame.
	keyWait = 5 * time.Second
	// layerWait is for more layers after the first key frame of one.
	layerWait = 500 * time.Millisecond
)

// choose selects the layer of each source that is recorded: the largest that
// flows. Sizes are those of the pictures, because the names of layers tell
// nothing.
func (c *Connection) choose(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, src := range c.sources {
		if len(src.layers) > 1 {
			src.choose(now, c.holding)
		}
	}
}

// choose of a source; fresh: nothing of it has been recorded.
func (s *source) choose(now time.Time, fresh bool) {
	var best *layer
	var bestArea int
	for _, l := range s.layers {
		if l.stream == nil || now.Sub(l.heard) > pauseAfter {
			continue
		}
		if a := area(l.stream); a > bestArea {
			best, bestArea = l, a
		}
	}
	if best == nil || best == s.wanted {
		return
	}
	steady := now.Sub(best.since) >= steadyAfter
	dead := best.heard.Sub(s.wanted.heard) > deadAfter
	larger := bestArea > area(s.wanted.stream)
	if (larger || dead) && (steady || fresh) {
		s.wanted = best
		best.stream.Select()
	}
}

func area(s *depacketize.Stream) int {
	st := s.State()
	return st.Width * st.Height
}

// ready reports, once, that the session may open: everything offered flows, or
// has had its time.
func (c *Connection) ready(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.holding || !c.readyLocked(now) {
		return false
	}
	c.holding = false
	return true
}

func (c *Connection) readyLocked(now time.Time) bool {
	var first time.Time // packet of any track
	complete, keyless := true, false
	for _, src := range c.sources {
		if len(src.layers) == 0 {
			complete = false
		}
		for _, l := range src.layers {
			if l.stream == nil {
				complete = false
				continue
			}
			if first.IsZero() || l.since.Before(first) {
				first = l.since
			}
		}
		if src.kind == webrtc.RTPCodecTypeVideo && len(src.layers) > 0 {
			ok, none := src.keyed(now)
			complete = complete && ok
			keyless = keyless || none
		}
	}
	switch {
	case first.IsZero():
		return false
	case complete:
		return true
	case keyless:
		return now.Sub(first) > keyWait
	}
	return now.Sub(first) > trackWait
}

// keyed reports whether all layers have had a key frame, or some and the others
// had their time; none: not one has.
func (s *source) keyed(now time.Time) (ok, none bool) {
	var first time.Time
	n := 0
	for _, l := range s.layers {
		if l.stream == nil {
			continue
		}
		st := l.stream.State()
		if st.Key.IsZero() {
			continue
		}
		n++
		if first.IsZero() || st.Key.Before(first) {
			first = st.Key
		}
	}
	switch {
	case n == 0:
		return false, true
	case n >= max(len(s.rids), len(s.layers)):
		return true, false
	}
	return now.Sub(first) > layerWait, false
}
