package detect

import "math"

// sizes is the first stage: it follows the sizes of the frames between key
// frames, which grow when something moves.
type sizes struct {
	factor float64 // how many deviations above the mean are a surge
	mean   float64 // of the size, bytes
	dev    float64 // mean distance from the mean
	seen   int
	recent uint8 // the latest frames, newest in the lowest bit: was it a surge
}

// sizesLearn is how many frames the means are taken over, about.
const sizesLearn = 250

func newSizes(sensitivity int) *sizes { return &sizes{factor: 6 - 0.04*float64(sensitivity)} }

// add takes the size of the next frame that is no key frame; it reports whether
// something seems to move: three of the latest five frames were large.
func (s *sizes) add(bytes int) bool {
	x := float64(bytes)
	s.seen++
	weight := 1 / float64(min(s.seen, sizesLearn))
	surge := s.seen > 25 && x > s.mean+s.factor*s.dev+0.1*s.mean+100
	s.recent = s.recent << 1 & 0x1f
	if surge {
		s.recent |= 1
		weight /= 4 // learn it, should it last
	}
	s.dev += (math.Abs(x-s.mean) - s.dev) * weight
	s.mean += (x - s.mean) * weight
	n := 0
	for b := s.recent; b != 0; b &= b - 1 {
		n++
	}
	return n >= 3
}
