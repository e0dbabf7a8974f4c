package detect

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// scene draws pictures: a background with noise, light, and things in it.
type scene struct {
	rnd   *rand.Rand
	noise float64 // standard deviation, grey levels
	light float64 // added to every pixel
	gain  float64 // by which every pixel is multiplied; 0: 1
	boxes []thing
}

// thing is a rectangle of one grey level, in parts of the picture.
type thing struct {
	box  Box
	grey byte
}

func newScene(noise float64) *scene { return &scene{rnd: rand.New(rand.NewPCG(1, 2)), noise: noise} }

func (s *scene) draw() []byte {
	pix := make([]byte, lookWidth*lookHeight)
	for y := range lookHeight {
		for x := range lookWidth {
			v := 60 + float64((x*5+y*3)%90)
			for _, t := range s.boxes {
				px, py := float64(x)/lookWidth, float64(y)/lookHeight
				if px >= t.box[0] && px < t.box[0]+t.box[2] && py >= t.box[1] && py < t.box[1]+t.box[3] {
					v = float64(t.grey)
				}
			}
			if s.gain > 0 {
				v *= s.gain
			}
			v += s.light + s.noise*s.rnd.NormFloat64()
			pix[y*lookWidth+x] = byte(math.Max(0, math.Min(255, v)))
		}
	}
	return pix
}

// at returns a thing that wanders from the left to the right, by the picture.
func wanderer(i int, size float64) thing {
	return thing{Box{0.05 + 0.02*float64(i), 0.4, size, 2 * size}, 220}
}

func TestMotion(t *testing.T) {
	const learn = 50 // pictures before it begins
	for _, tc := range []struct {
		name        string
		sensitivity int
		zones       []Zone
		noise       float64
		change      func(s *scene, i int) // i counts from the end of learning
		want        bool
	}{
		{"nothing", 50, nil, 0, func(*scene, int) {}, false},
		{"noise of a night", 50, nil, 8, func(*scene, int) {}, false},
		{"noise of a night, most sensitive", 100, nil, 8, func(*scene, int) {}, false},
		{"somebody walks", 50, nil, 2, func(s *scene, i int) { s.boxes = []thing{wanderer(i, 0.08)} }, true},
		{"somebody walks at night", 50, nil, 8, func(s *scene, i int) { s.boxes = []thing{wanderer(i, 0.08)} }, true},
		{"little walks, sensitive", 95, nil, 2, func(s *scene, i int) { s.boxes = []thing{wanderer(i, 0.04)} }, true},
		{"little walks, insensitive", 10, nil, 2, func(s *scene, i int) { s.boxes = []thing{wanderer(i, 0.04)} }, false},
		{"light goes on", 50, nil, 2, func(s *scene, i int) { s.light = 50 }, false},
		{"light goes on, most where it is bright", 85, nil, 2, func(s *scene, i int) { s.gain = 1.5 }, false},
		{"somebody walks as light goes on", 50, nil, 2, func(s *scene, i int) {
			s.gain, s.boxes = 1.2, []thing{wanderer(i, 0.08)}
		}, true},
		{"a cloud passes", 50, nil, 2, func(s *scene, i int) { s.light = -30 * math.Sin(float64(i)/10) }, false},
		{"the camera is turned", 50, nil, 2, func(s *scene, i int) {
			if i == 0 {
				s.boxes = []thing{{Box{0, 0, 1, 0.8}, 20}}
			}
		}, false},
		{"walks in the zone", 50, []Zone{{Points: []Point{{0, 0.3}, {1, 0.3}, {1, 0.8}, {0, 0.8}}}}, 2, func(s *scene, i int) { s.boxes = []thing{wanderer(i, 0.08)} }, true},
		{"walks outside the zone", 50, []Zone{{Points: []Point{{0, 0}, {1, 0}, {1, 0.3}, {0, 0.3}}}}, 2, func(s *scene, i int) { s.boxes = []thing{wanderer(i, 0.08)} }, false},
		{"walks where it is ignored", 50, []Zone{{Ignore: true, Points: []Point{{0, 0.3}, {1, 0.3}, {1, 0.8}, {0, 0.8}}}}, 2, func(s *scene, i int) { s.boxes = []thing{wanderer(i, 0.08)} }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newScene(tc.noise)
			m := newMotion(tc.sensitivity, tc.zones)
			now := time.Duration(0)
			look := func() []region {
				now += 200 * time.Millisecond
				return m.look(s.draw(), now)
			}
			for range learn {
				look()
			}
			hits, last := 0, region{}
			for i := range 30 {
				tc.change(s, i)
				if list := look(); len(list) > 0 {
					hits++
					last = list[0]
				}
			}
			if tc.want && hits < 25 || !tc.want && hits > 0 {
				t.Errorf("motion in %d of 30 pictures, want %v; last %+v", hits, tc.want, last)
			}
			if tc.want {
				w := s.boxes[0].box
				if math.Abs(last.box[0]-w[0]) > 0.1 || math.Abs(last.box[1]-w[1]) > 0.1 || last.box[2] > w[2]+0.2 || last.score <= 0.2 || last.score > 1 {
					t.Errorf("region %+v, the thing is at %v", last, w)
				}
			}
		})
	}
}

// What has come to rest is no motion, and neither is its going unseen; what
// moves again is.
func TestMotionAtRest(t *testing.T) {
	s := newScene(2)
	m := newMotion(50, nil)
	now := time.Duration(0)
	run := func(n int, change func(i int)) (hits int) {
		for i := range n {
			change(i)
			now += 200 * time.Millisecond
			if len(m.look(s.draw(), now)) > 0 {
				hits++
			}
		}
		return hits
	}
	run(50, func(int) {})
	if hits := run(20, func(i int) { s.boxes = []thing{wanderer(i, 0.1)} }); hits < 18 {
		t.Errorf("arrives: %d of 20", hits)
	}
	if hits := run(600, func(int) {}); hits > 2 {
		t.Errorf("rests: %d of 600", hits)
	}
	if hits := run(15, func(i int) { s.boxes = []thing{wanderer(20+i, 0.1)} }); hits < 13 {
		t.Errorf("leaves: %d of 15", hits)
	}
}

// A time line that begins anew costs no picture.
func TestMotionTimeLine(t *testing.T) {
	s := newScene(2)
	m := newMotion(50, nil)
	now := time.Hour
	hits := 0
	for i := range 100 {
		now += 200 * time.Millisecond
		if i == 85 {
			now = 0
		}
		if i >= 80 {
			s.boxes = []thing{wanderer(i-80, 0.1)}
		}
		if len(m.look(s.draw(), now)) > 0 {
			hits++
		}
	}
	if hits < 18 || hits > 20 {
		t.Errorf("motion in %d of 20 pictures", hits)
	}
}

func TestZones(t *testing.T) {
	square := []Point{{0.2, 0.2}, {0.8, 0.2}, {0.8, 0.8}, {0.2, 0.8}}
	for _, tc := range []struct {
		name string
		zone Zone
		bad  bool
	}{
		{"a square", Zone{Points: square}, false},
		{"two points", Zone{Points: square[:2]}, true},
		{"a line", Zone{Points: []Point{{0, 0}, {0.5, 0.5}, {1, 1}}}, true},
		{"outside", Zone{Points: []Point{{0, 0}, {1.5, 0}, {1, 1}}}, true},
		{"no number", Zone{Points: []Point{{0, 0}, {math.NaN(), 0}, {1, 1}}}, true},
		{"too many points", Zone{Points: make([]Point, maxPoints+1)}, true},
	} {
		if err := tc.zone.Validate(); (err != nil) != tc.bad {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	hole := Zone{Points: []Point{{0.4, 0.4}, {0.6, 0.4}, {0.6, 0.6}, {0.4, 0.6}}, Ignore: true}
	for _, tc := range []struct {
		zones []Zone
		p     Point
		want  bool
	}{
		{nil, Point{0.5, 0.5}, true},
		{[]Zone{{Points: square}}, Point{0.5, 0.5}, true},
		{[]Zone{{Points: square}}, Point{0.1, 0.5}, false},
		{[]Zone{{Points: square}, hole}, Point{0.5, 0.5}, false},
		{[]Zone{hole, {Points: square}}, Point{0.3, 0.3}, true},
		{[]Zone{hole}, Point{0.1, 0.1}, true},
	} {
		if got := counts(tc.zones, tc.p); got != tc.want {
			t.Errorf("%v in %v: %v", tc.p, tc.zones, got)
		}
	}
}

// sizesCamera gives sizes of frames, ten seconds between key frames.
type sizesCamera struct {
	s     *sizes
	rnd   *rand.Rand
	i     int
	mean  float64
	noise float64 // of each frame, part of the mean
}

const sizesKey = 20_000 // bytes of a key frame

// run adds frames, factor times as large as usual, and reports whether there was
// a surge.
func (c *sizesCamera) run(frames int, factor func(i int) float64) (surge bool) {
	for i := range frames {
		at := second(float64(c.i) / 25)
		size := c.mean * factor(i) * (1 + c.noise*c.rnd.NormFloat64())
		if c.i%4 == 1 {
			size *= 2 // a frame that others refer to
		}
		key := c.i%250 == 0
		if key {
			size = sizesKey
		}
		surge = c.s.add(int(max(size, 20)), key, at, true) || surge
		c.i++
	}
	return surge
}

func TestSizes(t *testing.T) {
	usual := func(int) float64 { return 1 }
	for _, tc := range []struct {
		name        string
		mean, noise float64
		surge       func(i int) float64
		want        bool
		sharp       bool
	}{
		{"still", 60, 0.05, usual, false, true},
		{"still, something small moves", 60, 0.1, func(int) float64 { return 2.2 }, true, true},
		{"noise", 3000, 0.1, usual, false, false},
		{"noise, something small moves", 3000, 0.1, func(int) float64 { return 1.02 }, false, false},
		{"noise, something large moves", 3000, 0.1, func(int) float64 { return 2.5 }, true, false},
		{"restless", 2000, 0.4, usual, false, false},
		{"a slow change", 2000, 0.1, func(i int) float64 { return 1 + float64(i)/2000 }, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := &sizesCamera{s: newSizes(50), rnd: rand.New(rand.NewPCG(3, 4)), mean: tc.mean, noise: tc.noise}
			if c.run(60, usual); c.s.suffice() {
				t.Error("suffices before it can know")
			}
			if c.run(1000, usual) {
				t.Error("surge of what is usual")
			}
			if c.s.suffice() != tc.sharp {
				t.Errorf("suffices: %v, limit %.0f", c.s.suffice(), c.s.limit())
			}
			if got := c.run(40, tc.surge); got != tc.want {
				t.Errorf("surge: %v, mean %.0f, limit %.0f", got, c.s.mean, c.s.limit())
			}
		})
	}
}

// Where key frames come often their pictures suffice, whatever the sizes.
func TestSizesOfShortGroups(t *testing.T) {
	for _, tc := range []struct {
		frames int
		want   bool
	}{{25, true}, {50, true}, {75, false}, {200, false}} {
		s := newSizes(50)
		rnd := rand.New(rand.NewPCG(5, 6))
		for i := range 1000 {
			key := i%tc.frames == 0
			s.add(2000+rnd.IntN(3000), key, second(float64(i)/25), true)
		}
		if s.suffice() != tc.want {
			t.Errorf("key frames %d frames apart: suffices %v", tc.frames, s.suffice())
		}
	}
}

func TestPatience(t *testing.T) {
	p := patience{1}
	for range 20 {
		p.woken(true)
	}
	if p.level != maxPatience {
		t.Errorf("after many false alarms %v", p.level)
	}
	for range 20 {
		p.woken(false)
	}
	if p.level != 1 {
		t.Errorf("after many true ones %v", p.level)
	}
}

func BenchmarkLook(b *testing.B) {
	s := newScene(4)
	pics := make([][]byte, 20)
	for i := range pics {
		s.boxes = []thing{wanderer(i, 0.1)}
		pics[i] = s.draw()
	}
	m := newMotion(50, nil)
	now := time.Duration(0)
	b.ReportAllocs()
	for i := range b.N {
		now += 200 * time.Millisecond
		m.look(pics[i%len(pics)], now)
	}
}
