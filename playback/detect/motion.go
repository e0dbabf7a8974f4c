package detect

import (
	"math"
	"time"
)

// Box is left, top, width and height as parts of the picture, 0 to 1.
type Box [4]float64

// The picture that motion is looked for in. Its shape need not be that of the
// camera: boxes are parts of it.
const (
	lookWidth  = 160
	lookHeight = 90
	cellSize   = 5 // pixels: what is smaller cannot be told from noise
	cellsX     = lookWidth / cellSize
	cellsY     = lookHeight / cellSize
	activeFrom = cellSize * cellSize / 4 // pixels of a cell that differ, for it to count
)

// Times of the background, of learning and of forgetting.
const (
	settleTime = 15 * time.Second // until it shows what is there
	absorbTime = 60 * time.Second // until it shows what has come and stays
)

// Pixels are kept with fixedBits bits behind the point.
const fixedBits = 6

// region is something that moves.
type region struct {
	box   Box
	score float64 // how sure, 0 to 1: how many pixels differ, and how much
	cells int
}

// motion finds what moves in the pictures of one camera.
type motion struct {
	limit    int32  // how much a pixel must differ, beside its noise, in fixed point
	minCells int    // of a region
	inZone   []bool // by cell
	learned         // from the pictures so far

	diff   []int32                 // of the picture under way, used again
	light  [lightLevels][512]int32 // how many pixels differ by how much, by level of the background
	moved  []uint8                 // pixels of a cell that differ from the background
	fresh  []uint8                 // of those, how many differ from the picture before
	marked []bool
	stack  []int
}

// learned is what pictures have taught.
type learned struct {
	back   []int32       // the background, in fixed point; nil before the first picture
	noise  []int32       // how much each pixel wavers, likewise
	before []byte        // the picture before
	last   time.Duration // when that was, on the time line of the publisher
}

// copyTo copies l into the space of o.
func (l *learned) copyTo(o *learned) {
	o.back, o.noise = append(o.back[:0], l.back...), append(o.noise[:0], l.noise...)
	o.before, o.last = append(o.before[:0], l.before...), l.last
}

// newMotion returns a detector; sensitivity is 1 to 100.
func newMotion(sensitivity int, zones []Zone) *motion {
	m := &motion{
		limit:    int32(40-0.32*float64(sensitivity)) << fixedBits,
		minCells: 1 + (100-sensitivity)/12,
		inZone:   make([]bool, cellsX*cellsY),
		diff:     make([]int32, lookWidth*lookHeight),
		moved:    make([]uint8, cellsX*cellsY),
		fresh:    make([]uint8, cellsX*cellsY),
		marked:   make([]bool, cellsX*cellsY),
	}
	for c := range m.inZone {
		m.inZone[c] = counts(zones, Point{(float64(c%cellsX) + 0.5) / cellsX, (float64(c/cellsX) + 0.5) / cellsY})
	}
	return m
}

// look compares a picture of lookWidth x lookHeight grey pixels with what was
// before, learns it, and returns what moves in it, the largest first. at is when it
// was, on the time line of the publisher, which may begin anew.
func (m *motion) look(pix []byte, at time.Duration) []region {
	if len(m.back) == 0 {
		m.learnAnew(pix, at)
		return nil
	}
	elapsed := max(at-m.last, 0)
	m.compare(pix)
	m.count(pix)
	all := 0
	for _, n := range m.moved {
		if n >= activeFrom {
			all++
		}
	}
	if all > cellsX*cellsY/2 { // the light, or the camera, and not something in the picture
		m.learnAnew(pix, at)
		return nil
	}
	found := m.regions()
	m.learn(pix, elapsed)
	m.before, m.last = append(m.before[:0], pix...), at
	return found
}

func (m *motion) learnAnew(pix []byte, at time.Duration) {
	if len(m.back) == 0 {
		m.back, m.noise = make([]int32, len(pix)), make([]int32, len(pix))
		for i := range m.noise {
			m.noise[i] = 3 << fixedBits
		}
	}
	for i, p := range pix {
		m.back[i] = int32(p) << fixedBits
	}
	m.before, m.last = append(m.before[:0], pix...), at
}

// Light that changes changes bright and dark places differently: how much is
// found for each of some levels of the background by itself.
const (
	lightLevels = 8
	lightShift  = 5 + fixedBits // from a background to its level
	// lightLeast is what part of the picture has to have a level for it to have a
	// change of its own: less may be what moves.
	lightLeast = lookWidth * lookHeight / 16
)

// compare sets m.diff to how much each pixel differs from the background when
// the whole picture is no brighter or darker.
func (m *motion) compare(pix []byte) {
	clear(m.light[:])
	for i, p := range pix {
		d := int32(p)<<fixedBits - m.back[i]
		m.diff[i] = d
		m.light[m.back[i]>>lightShift&(lightLevels-1)][(d>>fixedBits+255)&511]++
	}
	var all [512]int32
	for l := range m.light {
		for i, n := range m.light[l] {
			all[i] += n
		}
	}
	whole := median(&all, int32(len(pix)))
	var shift [lightLevels]int32
	for l := range shift {
		shift[l] = whole
		n := int32(0)
		for _, c := range m.light[l] {
			n += c
		}
		if n >= lightLeast {
			shift[l] = median(&m.light[l], n)
		}
	}
	for i, d := range m.diff {
		m.diff[i] = abs(d - shift[m.back[i]>>lightShift&(lightLevels-1)])
	}
}

// median returns that of differences, in fixed point: most of a picture does not
// move.
func median(histogram *[512]int32, n int32) int32 {
	sum := int32(0)
	for i, c := range histogram {
		if sum += c; 2*sum > n {
			return int32(i-255) << fixedBits
		}
	}
	return 0
}

// count counts the pixels of each cell that differ.
func (m *motion) count(pix []byte) {
	clear(m.moved)
	clear(m.fresh)
	still := m.limit >> fixedBits / 2
	for i, d := range m.diff {
		if d <= m.limit || d <= m.limit+3*m.noise[i] {
			continue
		}
		c := i/lookWidth/cellSize*cellsX + i%lookWidth/cellSize
		m.moved[c]++
		if abs(int32(pix[i])-int32(m.before[i])) > still {
			m.fresh[c]++
		}
	}
}

// regions gathers cells that touch. The caller has counted.
func (m *motion) regions() (found []region) {
	clear(m.marked)
	for start := range m.moved {
		if !m.active(start) || m.marked[start] {
			continue
		}
		if r, ok := m.gather(start); ok {
			found = append(found, r)
			if last := len(found) - 1; found[last].cells > found[0].cells {
				found[0], found[last] = found[last], found[0]
			}
		}
	}
	return found
}

// active reports whether enough of a cell differs.
func (m *motion) active(cell int) bool {
	return m.inZone[cell] && m.moved[cell] >= activeFrom
}

// gather collects the region of a cell; ok is false when it is too small, or
// rests.
func (m *motion) gather(start int) (r region, ok bool) {
	left, top, right, bottom := cellsX, cellsY, -1, -1
	pixels, fresh := 0, 0
	m.stack = append(m.stack[:0], start)
	m.marked[start] = true
	for len(m.stack) > 0 {
		c := m.stack[len(m.stack)-1]
		m.stack = m.stack[:len(m.stack)-1]
		x, y := c%cellsX, c/cellsX
		left, top, right, bottom = min(left, x), min(top, y), max(right, x), max(bottom, y)
		pixels += int(m.moved[c])
		fresh += int(m.fresh[c])
		r.cells++
		for ny := max(y-1, 0); ny <= min(y+1, cellsY-1); ny++ {
			for nx := max(x-1, 0); nx <= min(x+1, cellsX-1); nx++ {
				if n := ny*cellsX + nx; !m.marked[n] && m.active(n) {
					m.marked[n] = true
					m.stack = append(m.stack, n)
				}
			}
		}
	}
	r.box = Box{float64(left) / cellsX, float64(top) / cellsY, float64(right-left+1) / cellsX, float64(bottom-top+1) / cellsY}
	filled := float64(pixels) / float64(r.cells*cellSize*cellSize)
	r.score = math.Round(100*(1-math.Exp(-float64(r.cells)/float64(2*m.minCells)))*(0.5+0.5*filled)) / 100
	return r, r.cells >= m.minCells && fresh*10 >= pixels
}

// learn lets the background follow the picture: fast where nothing moves, slowly
// where something does.
func (m *motion) learn(pix []byte, elapsed time.Duration) {
	rate := func(d time.Duration) int32 { // of 1024
		return max(1, int32(1024*(1-math.Exp(-float64(elapsed)/float64(d)))))
	}
	settle, absorb := rate(settleTime), rate(absorbTime)
	for c, n := range m.moved {
		r, still := settle, true
		if n >= activeFrom {
			r, still = absorb, false
		}
		at := c/cellsX*cellSize*lookWidth + c%cellsX*cellSize
		for range cellSize {
			row := pix[at : at+cellSize]
			back, noise, diff := m.back[at:at+cellSize], m.noise[at:at+cellSize], m.diff[at:at+cellSize]
			for i, p := range row {
				if still {
					noise[i] += (diff[i] - noise[i]) * r / 1024
				}
				back[i] += (int32(p)<<fixedBits - back[i]) * r / 1024
			}
			at += lookWidth
		}
	}
}

func abs(v int32) int32 { return max(v, -v) }
