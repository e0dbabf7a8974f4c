package detect

import (
	"math"
	"time"
)

// sizes is the first stage: it follows the sizes of the frames between key
// frames, which grow when something moves. How well that works depends on the
// camera: where noise fills the frames, or a rate control keeps them alike, a
// thing that moves is lost in it. It knows how well.
type sizes struct {
	factor float64 // how many deviations above the mean are a surge
	patience
	window [sizesWindow]float64 // the latest frames
	after  int                  // frames since the key frame
	mean   float64              // of means over the window, bytes
	dev    float64              // mean distance from the mean
	seen   int
	key    float64 // size of a key frame
	blunt  bool    // they do not tell a small surge
	woke   bool    // the second stage looks because of them

	lastKey  time.Time
	newest   time.Time
	interval time.Duration // between the latest two key frames
}

const (
	// sizesLearn is how many frames the means are taken over, about.
	sizesLearn = 250
	// sizesWindow is how many frames are taken together: kinds of frames take turns.
	sizesWindow = 8
	// sizesSkip is how many frames behind a key frame are left out: they mend what
	// that one lacks.
	sizesSkip = 6
	// sizesSure is how many windows must have been seen before anything is said.
	sizesSure = 25
	// Sizes are sharp when they tell a surge of this part of a key frame: a plain
	// thing of a fiftieth of the picture that crosses it in eight seconds makes
	// about so much. They are blunt when they no longer tell one of bluntFrom.
	sharpTo   = 0.002
	bluntFrom = 0.003
	// rareKeys is when key frames alone show too little: what passes between two of
	// them is missed.
	rareKeys = 2100 * time.Millisecond
)

func newSizes(sensitivity int) *sizes {
	return &sizes{factor: 6 - 0.04*float64(sensitivity), patience: patience{1}, blunt: true}
}

// add takes the size of the next frame; it reports whether something seems to
// move. It learns what is usual, unless something is known to move.
func (s *sizes) add(bytes int, key bool, at time.Time, learn bool) bool {
	x := float64(bytes)
	if key || at.After(s.newest) { // a clock may be set back
		s.newest = at
	}
	if key {
		if s.key == 0 {
			s.key = x
		}
		s.key += (x - s.key) * 0.3
		if !s.lastKey.IsZero() {
			s.interval = at.Sub(s.lastKey)
		}
		s.lastKey, s.after = at, 0
		return false
	}
	s.after++
	if s.after <= sizesSkip {
		return false
	}
	s.window[s.after%sizesWindow] = x
	if s.after < sizesSkip+sizesWindow {
		return false
	}
	return s.step(learn)
}

// step takes one window.
func (s *sizes) step(learn bool) bool {
	y := 0.0
	for _, x := range s.window {
		y += x / sizesWindow
	}
	s.seen++
	limit := s.limit()
	surge := s.seen > sizesSure && y > s.mean+limit
	if s.seen > 2*sizesSure {
		s.blunt = limit > s.key*sharpTo && (s.blunt || limit > s.key*bluntFrom)
	}
	if !learn {
		return surge
	}
	weight := 1 / float64(min(s.seen, sizesLearn))
	if surge {
		weight /= 4 // learn it, should it last
	}
	s.dev += (math.Abs(y-s.mean) - s.dev) * weight
	s.mean += (y - s.mean) * weight
	return surge
}

// limit is how far above the mean a surge begins, bytes.
func (s *sizes) limit() float64 {
	return s.level * max(s.factor*s.dev, 0.2*s.mean, 24)
}

// suffice reports whether the first stage sees enough: key frames come often,
// or the sizes between them tell.
func (s *sizes) suffice() bool {
	return max(s.interval, s.newest.Sub(s.lastKey)) <= rareKeys || !s.blunt
}

// patience grows with each alarm that was false, and goes with each that was not.
type patience struct{ level float64 }

const (
	maxPatience  = 3
	patienceStep = 1.3
)

func (p *patience) woken(falsely bool) {
	if falsely {
		p.level = min(p.level*patienceStep, maxPatience)
	} else {
		p.level = max(p.level/patienceStep, 1)
	}
}
